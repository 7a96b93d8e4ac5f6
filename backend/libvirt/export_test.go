package libvirt

// WhileFrozen has f called between the freeze and the thaw of each guest.
func (h *Host) WhileFrozen(f func()) { h.frozen = f }
