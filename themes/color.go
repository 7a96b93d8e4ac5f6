package themes

import (
	"fmt"
	"image/color"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Color is one colour as a theme names it, packed: its kind in the top byte,
// its value below. The zero Color says nothing, so that what lies below shows.
type Color uint32

// The kinds of Color.
const (
	kindNone    = iota << 24 // not set
	kindDefault              // the terminal's own foreground or background
	kindBasic                // 0–15, which the terminal's user chooses
	kindIndexed              // 16–255, xterm's fixed palette
	kindRGB                  // 24 bits
)

const kindMask = 0xff << 24

// DefaultColor is the terminal's own colour.
const DefaultColor Color = kindDefault

// colorNames are the 16 basic colours, in ANSI's order.
var colorNames = [16]string{
	"black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
	"bright-black", "bright-red", "bright-green", "bright-yellow",
	"bright-blue", "bright-magenta", "bright-cyan", "bright-white",
}

// ParseColor reads a colour: one of the 16 basic names ("gray" is
// bright-black), "default", an ANSI number from 0 to 255, or #rgb or #rrggbb.
func ParseColor(s string) (Color, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	switch s {
	case "default":
		return DefaultColor, nil
	case "gray", "grey":
		return kindBasic | 8, nil
	}
	for i, n := range colorNames {
		if s == n {
			return kindBasic | Color(i), nil
		}
	}
	if hex, ok := strings.CutPrefix(s, "#"); ok {
		if len(hex) == 3 {
			hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
		}
		if v, err := strconv.ParseUint(hex, 16, 24); err == nil && len(hex) == 6 {
			return kindRGB | Color(v), nil
		}
	} else if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		return indexed(uint8(n)), nil
	}
	return 0, fmt.Errorf("%q is no colour: use default, a number from 0 to 255, #rrggbb, or one of %s",
		s, strings.Join(colorNames[:], ", "))
}

func indexed(n uint8) Color {
	if n < 16 {
		return kindBasic | Color(n)
	}
	return kindIndexed | Color(n)
}

// String is the colour as theme files write it; empty for the zero Color.
func (c Color) String() string {
	switch c & kindMask {
	case kindDefault:
		return "default"
	case kindBasic:
		return colorNames[c&15]
	case kindIndexed:
		return strconv.Itoa(int(c & 0xff))
	case kindRGB:
		return fmt.Sprintf("#%06x", uint32(c)&0xffffff)
	}
	return ""
}

// degrade is the nearest colour that profile p can show.
func (c Color) degrade(p Profile) Color {
	kind := c & kindMask
	switch {
	case kind == kindNone || kind == kindDefault || p == TrueColor:
		return c
	case p == NoColor:
		return kindNone
	case kind == kindBasic:
		return c
	case p == ANSI256 && kind == kindRGB:
		return indexed(uint8(ansi.Convert256(c.rgba())))
	case p == ANSI16:
		return nearestBasic(c)
	}
	return c
}

// rgba is the colour's value; for the basic 16, which every terminal shows in
// its own way, xterm's.
func (c Color) rgba() color.RGBA {
	if c&kindMask == kindRGB {
		return color.RGBA{R: uint8(c >> 16), G: uint8(c >> 8), B: uint8(c), A: 0xff}
	}
	r, g, b, _ := ansi.IndexedColor(c & 0xff).RGBA()
	return color.RGBA{R: uint8(r >> 8), G: uint8(g >> 8), B: uint8(b >> 8), A: 0xff}
}

// appendSGR appends the SGR parameters that select c; base is 30 for the
// foreground, 40 for the background.
func (c Color) appendSGR(b []byte, base int) []byte {
	v := int(c & 0xffffff)
	switch c & kindMask {
	case kindDefault:
		return strconv.AppendInt(b, int64(base+9), 10)
	case kindBasic:
		if v >= 8 {
			base += 60 - 8
		}
		return strconv.AppendInt(b, int64(base+v), 10)
	case kindIndexed:
		b = strconv.AppendInt(b, int64(base+8), 10)
		b = append(b, ";5;"...)
		return strconv.AppendInt(b, int64(v), 10)
	case kindRGB:
		b = strconv.AppendInt(b, int64(base+8), 10)
		b = append(b, ";2;"...)
		b = strconv.AppendInt(b, int64(v>>16), 10)
		b = append(b, ';')
		b = strconv.AppendInt(b, int64(v>>8&0xff), 10)
		b = append(b, ';')
		return strconv.AppendInt(b, int64(v&0xff), 10)
	}
	return b
}

// Basic is one of the 16 basic colours, by its ANSI number.
func Basic(n int) Color { return kindBasic | Color(n&15) }

// ColorFromSGR reads what follows 38 or 48 in an SGR sequence (5;N or 2;R;G;B)
// and returns how many parameters it used.
func ColorFromSGR(params []int) (c Color, used int) {
	switch {
	case len(params) >= 2 && params[0] == 5:
		return indexed(uint8(params[1])), 2
	case len(params) >= 4 && params[0] == 2:
		return kindRGB | Color(params[1]&0xff)<<16 | Color(params[2]&0xff)<<8 | Color(params[3]&0xff), 4
	}
	return 0, len(params)
}
