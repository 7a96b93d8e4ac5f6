package repo

import "errors"

// errSoon is for what is being written.
var errSoon = errors.New("being written")
