package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"

	"berth/backend"
)

// hop is one ssh server on the way, with the ssh configuration applied to it.
type hop struct {
	alias string // the name in the URI, which the configuration goes by
	host  string
	port  string
	user  string

	identities     []string // private keys to offer, in order
	explicit       bool     // identities were configured, not the usual names
	identitiesOnly bool     // offer nothing else of the agent's
	agent          string   // the agent's socket, or ""

	knownHosts  []string // files, the user's first
	keyAlias    string   // look host keys up by this name
	acceptNew   bool     // take an unknown host key and remember it
	hashNew     bool     // remember it under a hashed name
	jumps       []string // "[user@]host[:port]", the one to dial first
	proxy       string   // command that carries the connection
	timeout     time.Duration
	aliveEvery  time.Duration
	aliveMisses int
}

// address is where the hop's sshd listens.
func (h *hop) address() string { return joinHostPort(h.host, h.port) }

// keyName is the host:port by which known_hosts knows the hop.
func (h *hop) keyName() string {
	if h.keyAlias != "" {
		return joinHostPort(h.keyAlias, "22")
	}
	return h.address()
}

// sshSettings answers what the ssh configuration says about one host.
type sshSettings interface {
	get(key string) string
	all(key string) []string
}

// sshSettings reads the user's and the system's ssh configuration. What the
// parser does not understand (Match exec, for one) is left to the ssh program,
// which is asked for its view.
func (e *environ) sshSettings(ctx context.Context, alias string) (sshSettings, error) {
	var files parsedConfig
	for _, path := range []string{filepath.Join(e.home, ".ssh", "config"), filepath.Join(e.sshDir, "ssh_config")} {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, faultf(backend.ErrAuth, "make it readable", "ssh configuration: %w", err)
		}
		c, err := ssh_config.DecodeBytes(data)
		if err != nil {
			if s, ok := e.askSSH(ctx, alias, path); ok {
				return s, nil
			}
			return nil, faultf(backend.ErrUnreachable, "simplify that line, or install the ssh program, which berth then asks",
				"ssh configuration %s: %w", path, err)
		}
		files.configs = append(files.configs, c)
	}
	files.alias = alias
	return &files, nil
}

// parsedConfig answers from files that were parsed here.
type parsedConfig struct {
	alias   string
	configs []*ssh_config.Config
}

func (p *parsedConfig) all(key string) []string {
	var values []string
	for _, c := range p.configs {
		found, err := c.GetAll(p.alias, key)
		if err != nil {
			continue // an include that went away: as if it said nothing
		}
		for _, v := range found {
			if v = unquote(v); v != "" {
				values = append(values, v)
			}
		}
	}
	return values
}

func (p *parsedConfig) get(key string) string { return first(p.all(key)) }

// askedConfig holds what "ssh -G" printed, by lower-case key.
type askedConfig map[string][]string

func (a askedConfig) all(key string) []string { return a[strings.ToLower(key)] }
func (a askedConfig) get(key string) string   { return first(a.all(key)) }

// askSSH asks the ssh program how it would connect to alias.
func (e *environ) askSSH(ctx context.Context, alias, config string) (askedConfig, bool) {
	program := e.look("ssh")
	if program == "" {
		return nil, false
	}
	cmd := exec.CommandContext(ctx, program, "-F", config, "-G", "--", alias)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil, false
	}
	asked := askedConfig{}
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if value != "" && value != "none" {
			asked[key] = append(asked[key], value)
		}
	}
	return asked, true
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func unquote(v string) string {
	v = strings.TrimSpace(v)
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return v[1 : len(v)-1]
	}
	return v
}

// hop applies the ssh configuration to one server. user and port, when given,
// are the URI's and win.
func (e *environ) hop(ctx context.Context, alias, user, port string) (*hop, error) {
	s, err := e.sshSettings(ctx, alias)
	if err != nil {
		return nil, err
	}
	h := &hop{alias: alias, user: user, port: port}
	h.host = alias
	if name := s.get("HostName"); name != "" {
		h.host = strings.NewReplacer("%%", "%", "%h", alias).Replace(name)
	}
	h.user = orElse(h.user, orElse(s.get("User"), e.user))
	h.port = orElse(h.port, orElse(s.get("Port"), "22"))
	if n, err := strconv.ParseUint(h.port, 10, 16); err != nil || n == 0 {
		return nil, faultf(backend.ErrUnreachable, "", "ssh configuration: %q is no port", backend.Clean(h.port))
	}
	h.keyAlias = s.get("HostKeyAlias")
	h.setIdentities(e, s)
	h.setHostKeys(e, s)
	h.setRoute(e, s)
	h.timeout = seconds(s.get("ConnectTimeout"), 0)
	h.aliveEvery = seconds(s.get("ServerAliveInterval"), 15*time.Second)
	h.aliveMisses = 3
	if n, err := strconv.Atoi(s.get("ServerAliveCountMax")); err == nil && n > 0 {
		h.aliveMisses = n
	}
	return h, nil
}

func (h *hop) setIdentities(e *environ, s sshSettings) {
	h.identitiesOnly = isYes(s.get("IdentitiesOnly"))
	for _, file := range s.all("IdentityFile") {
		if file != "none" {
			h.identities = append(h.identities, h.expand(e, file))
		}
	}
	h.explicit = len(h.identities) > 0
	if !h.explicit {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			h.identities = append(h.identities, filepath.Join(e.home, ".ssh", name))
		}
	}
	switch a := s.get("IdentityAgent"); a {
	case "", "SSH_AUTH_SOCK":
		h.agent = e.getenv("SSH_AUTH_SOCK")
	case "none":
	default:
		if name, ok := strings.CutPrefix(a, "$"); ok {
			h.agent = e.getenv(strings.Trim(name, "{}"))
		} else {
			h.agent = h.expand(e, a)
		}
	}
}

func (h *hop) setHostKeys(e *environ, s sshSettings) {
	own := strings.Fields(s.get("UserKnownHostsFile"))
	if len(own) == 0 {
		own = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	system := strings.Fields(s.get("GlobalKnownHostsFile"))
	if len(system) == 0 {
		system = []string{e.sshDir + "/ssh_known_hosts", e.sshDir + "/ssh_known_hosts2"}
	}
	for _, f := range append(own, system...) {
		if f = unquote(f); f != "none" {
			h.knownHosts = append(h.knownHosts, h.expand(e, f))
		}
	}
	switch strings.ToLower(s.get("StrictHostKeyChecking")) {
	case "no", "off", "false", "accept-new":
		h.acceptNew = true
	}
	h.hashNew = isYes(s.get("HashKnownHosts"))
}

func (h *hop) setRoute(e *environ, s sshSettings) {
	if j := s.get("ProxyJump"); j != "" && j != "none" {
		h.jumps = strings.Split(strings.ReplaceAll(j, " ", ""), ",")
		return
	}
	if c := s.get("ProxyCommand"); c != "" && c != "none" {
		h.proxy = h.tokens(e).Replace(c)
	}
}

// expand replaces "~", %-tokens and ${VARIABLES} in a file name
// (ssh_config(5), TOKENS).
func (h *hop) expand(e *environ, path string) string {
	path = h.tokens(e).Replace(e.tilde(path))
	for {
		before, rest, ok := strings.Cut(path, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return path
		}
		path = before + e.getenv(name) + after
	}
}

func (h *hop) tokens(e *environ) *strings.Replacer {
	short, _, _ := strings.Cut(e.hostname, ".")
	return strings.NewReplacer("%%", "%", "%d", e.home, "%h", h.host, "%i", strconv.Itoa(e.uid), "%k", orElse(h.keyAlias, h.alias),
		"%L", short, "%l", e.hostname, "%n", h.alias, "%p", h.port, "%r", h.user, "%u", e.user)
}

func isYes(v string) bool { return strings.EqualFold(v, "yes") || strings.EqualFold(v, "true") }

// seconds reads a number of seconds, or a time as ssh_config(5) writes it
// ("1m30s"); what it cannot read is otherwise.
func seconds(v string, otherwise time.Duration) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 24); err == nil {
		return time.Duration(n) * time.Second
	}
	if d, err := time.ParseDuration(strings.ToLower(v)); err == nil && d >= 0 {
		return d
	}
	return otherwise
}

// String is "user@host", with the port when it is unusual.
func (h *hop) String() string {
	if h.port == "22" {
		return h.user + "@" + h.host
	}
	return fmt.Sprintf("%s@%s", h.user, h.address())
}
