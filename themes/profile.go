package themes

import (
	"fmt"
	"strings"
)

// Profile is how many colours a terminal shows.
type Profile uint8

// The profiles, poorest first.
const (
	NoColor   Profile = iota // attributes only: bold, underline, reverse
	ANSI16                   // the 16 colours that the terminal's user chooses
	ANSI256                  // xterm's palette
	TrueColor                // 24 bits
)

var profileNames = [...]string{"never", "16", "256", "true"}

// String is the profile as --color names it.
func (p Profile) String() string {
	if int(p) < len(profileNames) {
		return profileNames[p]
	}
	return "unknown"
}

// ParseProfile decides how many colours to use. flag is the value of --color:
// auto, never, 16, 256 or true; empty is auto. env reads an environment
// variable, as os.Getenv. Auto follows NO_COLOR (https://no-color.org: set and
// not empty means none), CLICOLOR_FORCE, COLORTERM and TERM. sshd does not
// pass COLORTERM on, so terminals known to show 24 bits are also known by
// their TERM.
func ParseProfile(flag string, env func(string) string, isTTY bool) (Profile, error) {
	switch strings.ToLower(flag) {
	case "", "auto":
		return detect(env, isTTY), nil
	case "never", "no", "off", "none":
		return NoColor, nil
	case "16":
		return ANSI16, nil
	case "256":
		return ANSI256, nil
	case "true", "truecolor", "24bit":
		return TrueColor, nil
	}
	return NoColor, fmt.Errorf("--color %q: use auto, never, 16, 256 or true", flag)
}

func detect(env func(string) string, isTTY bool) Profile {
	if env("NO_COLOR") != "" {
		return NoColor
	}
	term := strings.ToLower(env("TERM"))
	forced := env("CLICOLOR_FORCE") != "" && env("CLICOLOR_FORCE") != "0"
	if !isTTY && !forced {
		return NoColor
	}
	if term == "dumb" || term == "" && !forced {
		return NoColor
	}
	if strings.HasPrefix(term, "vt") { // real terminals had no colours
		return NoColor
	}
	if strings.HasPrefix(term, "screen") && env("TMUX") == "" && env("STY") != "" {
		return min(fromTerm(term), ANSI256) // GNU screen mangles 24-bit colours
	}
	switch strings.ToLower(env("COLORTERM")) {
	case "truecolor", "24bit":
		return TrueColor
	}
	return fromTerm(term)
}

// fromTerm is what TERM alone tells.
func fromTerm(term string) Profile {
	if strings.HasSuffix(term, "-direct") {
		return TrueColor
	}
	for _, known := range []string{"alacritty", "foot", "ghostty", "xterm-ghostty", "kitty", "xterm-kitty", "wezterm", "contour", "rio"} {
		if term == known || strings.HasPrefix(term, known+"-") {
			return TrueColor
		}
	}
	if strings.Contains(term, "256color") {
		return ANSI256
	}
	return ANSI16
}
