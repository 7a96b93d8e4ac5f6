package model

import (
	"fmt"
	"strings"

	"berth/model/config"
)

var stateWords = []string{"running", "idle", "paused", "shutdown", "shutoff", "crashed", "pmsuspended", "active", "inactive", "nostate"}

// stateMatcher takes a state's word or its beginning, virsh's own spelling
// without blanks, "off", and active and inactive as virsh list does. The
// beginning will do because a filter acts while it is typed; what begins no
// state's word, as "runing", is an error.
func stateMatcher(value string) (matcher, error) {
	word := strings.ReplaceAll(strings.ToLower(value), " ", "")
	switch word {
	case "off":
		word = "shutoff"
	case "inshutdown":
		word = "shutdown"
	case "blocked":
		word = "idle"
	}
	known := false
	for _, w := range stateWords {
		known = known || strings.HasPrefix(w, word)
	}
	if !known {
		return nil, noState(value)
	}
	return func(r *Row) (bool, bool) {
		if strings.HasPrefix(r.State.Word(), word) {
			return true, true
		}
		if r.State.Active() {
			return strings.HasPrefix("active", word), true
		}
		return strings.HasPrefix("inactive", word), true
	}, nil
}

func noState(value string) error {
	text := fmt.Sprintf("there is no state %q", value)
	if near := config.Nearest(value, stateWords); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("%s (states: %s)", text, strings.Join(stateWords, " "))
}
