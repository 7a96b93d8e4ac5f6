package queue

// aged is the score of berth's own order.
func (b *board) aged(w *waiting) float64 {
	e := float64(max(w.expect(), 1))
	return (float64(b.age(w)) + e) / e
}
