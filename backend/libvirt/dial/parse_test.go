package dial

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"berth/backend"
)

func TestParse(t *testing.T) {
	e := testEnviron(t)
	for _, c := range []struct {
		uri, str, driver, label string
		local                   bool
	}{
		{"qemu:///system", "qemu:///system", "qemu:///system", "desk", true},
		{" qemu:///session ", "qemu:///session", "qemu:///session", "desk", true},
		{"QEMU:///system", "qemu:///system", "qemu:///system", "desk", true},
		{"qemu+unix:///system", "qemu:///system", "qemu:///system", "desk", true},
		{"qemu+unix:///system?socket=/a+b/x%20y", "qemu+unix:///system?socket=/a+b/x%20y", "qemu:///system", "desk", true},
		{"qemu+unix:///session?socket=/s", "qemu+unix:///session?socket=/s", "qemu:///session", "desk", true},
		{"qemu:///system?mode=legacy", "qemu+unix:///system?mode=legacy", "qemu:///system", "desk", true},
		{"test:///default", "test:///default", "test:///default", "desk", true},
		{"test+unix:///default", "test:///default", "test:///default", "desk", true},
		{"qemu+tcp://HV1.Example.org/system", "qemu+tcp://hv1.example.org/system", "qemu:///system", "hv1", false},
		{"qemu+tcp://hv1:16509/system", "qemu+tcp://hv1/system", "qemu:///system", "hv1", false},
		{"qemu+tcp://10.0.0.7:99/system", "qemu+tcp://10.0.0.7:99/system", "qemu:///system", "10.0.0.7", false},
		{"qemu+tcp://[fe80::1%25eth0]:99/system", "qemu+tcp://[fe80::1%25eth0]:99/system", "qemu:///system", "fe80::1%eth0", false},
		{"qemu://hv1/system", "qemu+tls://hv1/system", "qemu:///system", "hv1", false},
		{"qemu+tls://hv1:16514/system?pkipath=/p&no_verify=1", "qemu+tls://hv1/system?no_verify=1&pkipath=/p", "qemu:///system", "hv1", false},
		{"qemu+ssh://hv1/system", "qemu+ssh://hv1/system", "qemu:///system", "hv1", false},
		{"qemu+ssh://root@hv1.lan:2222/session?keyfile=~/k;no_tty=1", "qemu+ssh://root@hv1.lan:2222/session?keyfile=~/k&no_tty=1", "qemu:///session", "hv1", false},
		{"qemu+ssh://dom%5Cbob%40x@hv1:22/system", "qemu+ssh://dom%5Cbob%40x@hv1:22/system", "qemu:///system", "hv1", false},
	} {
		t.Run(c.uri, func(t *testing.T) {
			got, err := parse(c.uri, e)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.str || got.Driver() != c.driver || got.Label() != c.label || got.Local() != c.local {
				t.Errorf("got %q, driver %q, label %q, local %v; want %+v", got, got.Driver(), got.Label(), got.Local(), c)
			}
			again, err := parse(got.String(), e)
			if err != nil || again.String() != c.str {
				t.Errorf("its own form %q parses to %v, %v", got, again, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	e := testEnviron(t)
	for uri, why := range map[string]string{
		"":                                       "empty",
		"system":                                 "no scheme",
		"qemu:system":                            "//",
		"qemu:///":                               "/system or /session",
		"qemu:///embed?root=/x":                  "/system or /session",
		"xen:///system":                          `no driver "xen"`,
		"qemu+libssh2://h/system":                `no transport "libssh2"`,
		"qemu+ext:///system":                     `no transport "ext"`,
		"qemu+://h/system":                       "no transport",
		"test:///other":                          "/default",
		"qemu+unix://host/system":                "on this machine",
		"qemu+tcp:///system":                     "needs a host",
		"qemu+ssh:///system":                     "needs a host",
		"qemu+tcp://h:0/system":                  "no port",
		"qemu+tcp://h:65536/system":              "no port",
		"qemu+tcp://h:x/system":                  "port",
		"qemu+tcp://bob@h/system":                "only ssh",
		"qemu+ssh://-oProxyCommand=x/system":     "no host name",
		"qemu+ssh://-l@h/system":                 "no user name",
		"qemu+ssh://h/system?command=/bin/ssh":   `no parameter "command"`,
		"qemu+tcp://h/system?socket=/x":          "takes no parameter",
		"qemu+unix:///system?socket=relative":    "absolute",
		"qemu+unix:///system?socket=/a&socket=b": "twice",
		"qemu+unix:///system?socket=/a%1b[31m":   "control characters",
		"qemu:///system?mode=odd":                "auto, direct, legacy",
		"qemu+ssh://h/system?proxy=odd":          "auto, native, netcat",
		"qemu+unix:///system?socket=%zz":         "escape",
		"qemu+ssh://bob:hunter2@h/system":        "password",
		"qemu+ssh://bob:hun/ter2@h/system":       "",
		"qemu+ssh://bob:hunter2@h:port/system":   "port",
		"\x1b[2J":                                "",
	} {
		t.Run(uri, func(t *testing.T) {
			got, err := parse(uri, e)
			if err == nil {
				t.Fatalf("parsed to %v", got)
			}
			if !errors.Is(err, backend.ErrURI) {
				t.Errorf("%v does not wrap ErrURI", err)
			}
			var op *backend.OpError
			if !errors.As(err, &op) {
				t.Fatalf("%#v is no *backend.OpError", err)
			}
			for _, want := range append(Supported(), why) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") || strings.Contains(err.Error(), "ter2") {
				t.Errorf("%q breaks its line or tells the password", err)
			}
		})
	}
}

func TestSupportedFormsParse(t *testing.T) {
	fill := strings.NewReplacer("PATH", "/tmp/s", "[USER@]", "root@", "HOST", "hv1", "[:PORT]", ":99")
	for _, form := range Supported() {
		if _, err := parse(fill.Replace(form), testEnviron(t)); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestSSH(t *testing.T) {
	for uri, want := range map[string][3]string{
		"qemu+ssh://hv1/system":           {"", "hv1", ""},
		"qemu+ssh://root@hv1:2222/system": {"root", "hv1", "2222"},
	} {
		target, err := parse(uri, testEnviron(t))
		if err != nil {
			t.Fatal(err)
		}
		user, host, port, ok := target.SSH()
		if !ok || [3]string{user, host, port} != want {
			t.Errorf("%s: %q %q %q %v", uri, user, host, port, ok)
		}
	}
	target, err := parse("qemu+tcp://hv1/system", testEnviron(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, ok := target.SSH(); ok {
		t.Error("a TCP connection claims to be ssh")
	}
}

func TestDefaults(t *testing.T) {
	for env, want := range map[string][]string{
		"":                    {"qemu:///system", "qemu:///session"},
		"qemu+tcp://h/system": {"qemu+tcp://h/system", "qemu:///system", "qemu:///session"},
		"qemu:///session":     {"qemu:///session", "qemu:///system"},
	} {
		if got := defaults(testEnviron(t, "LIBVIRT_DEFAULT_URI", env)); !slices.Equal(got, want) {
			t.Errorf("with %q: %q, want %q", env, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, u := range append(Supported(), "qemu+ssh://a:b@[::1%25x]:1/system?keyfile=/%41&no_tty=1") {
		f.Add(u)
	}
	e := testEnviron(f)
	f.Fuzz(func(t *testing.T, uri string) {
		target, err := parse(uri, e)
		if err != nil {
			if !errors.Is(err, backend.ErrURI) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%q: %q", uri, err)
			}
			return
		}
		again, err := parse(target.String(), e)
		if err != nil || again.String() != target.String() {
			t.Errorf("%q became %q, which became %v, %v", uri, target, again, err)
		}
	})
}
