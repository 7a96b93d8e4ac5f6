package queue

// fits reports whether s fits into free.
func (s *Size) fits(free *Size) bool {
	return s.VCPU <= free.VCPU && s.Memory <= free.Memory && s.Disk <= free.Disk
}

// add adds t to s.
func (s *Size) add(t *Size) {
	s.VCPU += t.VCPU
	s.Memory += t.Memory
	s.Disk += t.Disk
}

// sub takes t from s; what is overcommitted becomes negative.
func (s *Size) sub(t *Size) {
	s.VCPU -= t.VCPU
	s.Memory -= t.Memory
	s.Disk -= t.Disk
}

// grow raises each dimension of s to t's where that is greater.
func (s *Size) grow(t *Size) {
	s.VCPU = max(s.VCPU, t.VCPU)
	s.Memory = max(s.Memory, t.Memory)
	s.Disk = max(s.Disk, t.Disk)
}

// The names of the dimensions, as reasons have them.
const (
	cpu  = "cpu"
	mem  = "mem"
	disk = "disk"
)

// later is t+d, where Never stays Never.
func later(t, d Time) Time {
	if t >= Never || d >= Never {
		return Never
	}
	return t + d
}
