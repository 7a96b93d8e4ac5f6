package tty

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestScreen(t *testing.T) {
	for _, c := range []struct{ name, out, want string }{
		{"text and lines", "ab\r\ncd", "ab\ncd\n\n"},
		{"wrap at the edge", "0123456789x", "0123456789\nx\n\n"},
		{"no wrap before the next character", "0123456789\r\nx", "0123456789\nx\n\n"},
		{"cursor and erase", "aaaa\x1b[1;2Hb\x1b[K", "ab\n\n\n"},
		{"erase characters", "abcd\x1b[1;2H\x1b[2X", "a  d\n\n\n"},
		{"delete and insert characters", "abcd\x1b[1G\x1b[P\x1b[2@", "  bcd\n\n\n"},
		{"repeat", "-\x1b[3b|", "----|\n\n\n"},
		{"scroll at the bottom", "1\r\n2\r\n3\r\n4\r\n5", "2\n3\n4\n5"},
		{"scrolling region", "1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\n", "1\n3\n\n4"},
		{"insert and delete lines", "1\r\n2\r\n3\x1b[1;1H\x1b[M\x1b[2;1H\x1b[L", "2\n\n3\n"},
		{"wide characters", "世界x\x1b[1;3H.", "世. x\n\n\n"},
		{"combining characters", "e\u0301x", "e\u0301x\n\n\n"},
		{"alternate screen", "main\x1b[?1049h\x1b[Halt\x1b[?1049l", "main\n\n\n"},
		{"tabs", "a\tb", "a       b\n\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewScreen(10, 4, func(string) {})
			s.Write([]byte(c.out))
			if got := s.String(); strings.ReplaceAll(got, "\u00a0", " ") != c.want {
				t.Errorf("%q shows\n%s\nwant\n%s", c.out, got, c.want)
			}
		})
	}
}

func TestScreenAnswersQueries(t *testing.T) {
	var got strings.Builder
	s := NewScreen(10, 4, func(a string) { got.WriteString(a) })
	s.Write([]byte("ab\x1b[6n\x1b[c\x1b]11;?\x07\x1b]2;name\x07"))
	if want := "\x1b[1;3R\x1b[?62;22c\x1b]11;rgb:0000/0000/0000\x1b\\"; got.String() != want {
		t.Errorf("answers %q, want %q", got.String(), want)
	}
	if s.Title != "name" {
		t.Errorf("title %q", s.Title)
	}
}

func TestSession(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := Start(exec.Command("sh", "-c", `stty size; trap 'stty size' WINCH; read line; echo "got $line"; read line; exit 3`), 30, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	await := func(text string) {
		t.Helper()
		if _, err := s.Await(ctx, func(screen string) bool { return strings.Contains(screen, text) }); err != nil {
			t.Fatalf("%q: %v; the screen is\n%s", text, err, s.Screen())
		}
	}
	await("5 30")
	s.Type("hello\r")
	await("got hello")
	s.Resize(20, 6)
	await("6 20")
	s.Type("\r")
	if code, err := s.Wait(ctx); code != 3 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
	if _, err := s.Await(ctx, func(string) bool { return false }); err != ErrEnded {
		t.Errorf("awaiting an ended program: %v", err)
	}
}
