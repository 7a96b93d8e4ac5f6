//go:build !linux

package store

import "errors"

func (s *Store) ring() {}

func hear(string, func()) (bell, error) { return nil, errors.ErrUnsupported }
