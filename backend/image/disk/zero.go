package disk

import "bytes"

// grain is the shortest run of zeroes that is made a hole, on its own
// boundaries: the cluster of a qcow2 image, and few enough pieces for a file
// system to keep.
const grain = 64 << 10

var zeroes [grain]byte

// AllZero reports whether p holds nothing else.
func AllZero(p []byte) bool {
	for len(p) > grain {
		if !bytes.Equal(p[:grain], zeroes[:]) {
			return false
		}
		p = p[grain:]
	}
	return bytes.Equal(p, zeroes[:len(p)])
}

// sparsely splits p into what is to be written and whole grains of zeroes.
func sparsely(p []byte, offset int64, write func(p []byte, at int64) error, zero func(at, n int64) error) error {
	for len(p) > 0 {
		n, isZero := run(p, offset)
		var err error
		if isZero {
			err = zero(offset, int64(n))
		} else {
			err = write(p[:n], offset)
		}
		if err != nil {
			return err
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

// run is how long p goes on as it begins.
func run(p []byte, offset int64) (n int, isZero bool) {
	for n < len(p) {
		end := min(n+grain-int((offset+int64(n))%grain), len(p))
		z := AllZero(p[n:end])
		if n > 0 && z != isZero {
			break
		}
		isZero, n = z, end
	}
	return n, isZero
}
