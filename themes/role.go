package themes

// Role is what a piece of text means on a screen. Themes give each role a
// look; screens name only roles.
type Role uint8

// The roles. The comment of each says where it is used.
const (
	RoleText        Role = iota // ordinary text
	RoleMuted                   // secondary text: units, hints, labels
	RoleTitle                   // titles of screens and panels
	RoleAccent                  // what should catch the eye without being a warning
	RoleBorder                  // frames
	RoleFocusBorder             // the frame of the panel that has the keys
	RoleHeader                  // column headers
	RoleCursor                  // the row under the cursor
	RoleMarked                  // marked rows
	RoleKey                     // names of keys in footers and help
	RoleOK                      // running, done, healthy
	RoleWarn                    // paused, near a limit
	RoleBad                     // crashed, failed, dangerous
	RoleInfo                    // in transition: starting, migrating
	RoleOff                     // shut-off rows
	RoleStale                   // figures that are old
	RoleFlash                   // a row whose state has just changed
	RoleInput                   // text being typed
	RoleMatch                   // what a search or filter found
	RoleBarFull                 // the used part of gauges and scroll bars
	RoleBarEmpty                // their rest
	RoleSpark                   // sparklines
	RoleFrame                   // a host's own frame, as red for production
	RoleAdd                     // added lines of a diff
	RoleRemove                  // removed lines of a diff
	RoleButton                  // a dialog's buttons
	RoleButtonFocus             // the button that enter presses
	RoleHost                    // names of hosts

	// RoleCount is the number of roles.
	RoleCount
)

var roleNames = [RoleCount]string{
	"text", "muted", "title", "accent", "border", "focus-border", "header", "cursor", "marked", "key",
	"ok", "warn", "bad", "info", "off", "stale", "flash", "input", "match", "bar-full", "bar-empty",
	"spark", "frame", "add", "remove", "button", "button-focus", "host",
}

// String is the role's key in theme files.
func (r Role) String() string {
	if r < RoleCount {
		return roleNames[r]
	}
	return "unknown"
}

// Roles returns every role's key, in order.
func Roles() []string { return append([]string(nil), roleNames[:]...) }

// parseRole finds a role by its key.
func parseRole(name string) (Role, bool) {
	for i, n := range roleNames {
		if n == name {
			return Role(i), true
		}
	}
	return 0, false
}
