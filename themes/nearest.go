package themes

import "github.com/lucasb-eyer/go-colorful"

// nearestBasic picks the one of the 16 basic colours that says the same as c.
// It goes by hue rather than by distance: nobody knows what values a terminal
// gives its 16 colours, and by distance most pastels would be grey.
func nearestBasic(c Color) Color {
	f, _ := colorful.MakeColor(c.rgba())
	h, s, v := f.Hsv()
	if s < 0.25 || v < 0.25 {
		return kindBasic | greyFor(v*(1-s/2))
	}
	basic := hueFor(h)
	if v >= 0.8 {
		basic += 8
	}
	return kindBasic | basic
}

// greyFor is the basic grey nearest to lightness v from 0 to 1.
func greyFor(v float64) Color {
	switch {
	case v < 0.25:
		return 0 // black
	case v < 0.6:
		return 8 // bright-black
	case v < 0.88:
		return 7 // white
	}
	return 15 // bright-white
}

// hueFor is the dark basic colour for a hue in degrees.
func hueFor(h float64) Color {
	switch {
	case h < 20 || h >= 340:
		return 1 // red
	case h < 70:
		return 3 // yellow
	case h < 165:
		return 2 // green
	case h < 200:
		return 6 // cyan
	case h < 260:
		return 4 // blue
	}
	return 5 // magenta
}
