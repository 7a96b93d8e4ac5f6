package config

import "path/filepath"

// Paths are where berth keeps things. An empty one cannot be had, because
// neither HOME nor the XDG variable is set.
type Paths struct {
	ConfigFile string // the user's settings; never written by berth
	SystemFile string // settings for everybody on this machine
	ThemesDir  string // the user's themes
	StateDir   string // what berth itself keeps
	StateFile  string // what :save keeps
	AuditFile  string // who did what to which VM
}

// NewPaths works the paths out from the environment, by the XDG Base Directory
// Specification: a relative XDG variable is ignored. Root's state goes to
// /var/lib/berth unless XDG_STATE_HOME is set, because services that run as
// root have no HOME and should find the same state.
func NewPaths(env func(string) string, uid int) Paths {
	p := Paths{SystemFile: "/etc/berth/config.yaml"}
	if dir := xdg(env, "XDG_CONFIG_HOME", ".config"); dir != "" {
		p.ConfigFile = filepath.Join(dir, "berth", "config.yaml")
		p.ThemesDir = filepath.Join(dir, "berth", "themes")
	}
	switch dir := env("XDG_STATE_HOME"); {
	case filepath.IsAbs(dir):
		p.StateDir = filepath.Join(dir, "berth")
	case uid == 0:
		p.StateDir = "/var/lib/berth"
	default:
		if dir := xdg(env, "XDG_STATE_HOME", ".local/state"); dir != "" {
			p.StateDir = filepath.Join(dir, "berth")
		}
	}
	if p.StateDir != "" {
		p.StateFile = filepath.Join(p.StateDir, "ui.yaml")
		p.AuditFile = filepath.Join(p.StateDir, "audit.jsonl")
	}
	return p
}

func xdg(env func(string) string, name, below string) string {
	if dir := env(name); filepath.IsAbs(dir) {
		return dir
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, below)
	}
	return ""
}
