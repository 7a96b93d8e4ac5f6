// Package ui draws the screens of package model and routes the terminal's
// input to them. It does no I/O of its own: frames go to ui/screen, everything
// else is the model's.
package ui

//go:generate go test . -run TestReadmeIsUpToDate -update
