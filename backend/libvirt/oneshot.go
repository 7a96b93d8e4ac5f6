package libvirt

// Unration makes Figures ask every domain each time it is called. The ration
// spreads the cost of asking over the time that a console stays open; a command
// that asks twice and ends wants both answers now.
func (h *Host) Unration() {
	h.plan.mu.Lock()
	defer h.plan.mu.Unlock()
	h.plan.off = true
}
