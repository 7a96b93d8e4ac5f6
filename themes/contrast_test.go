package themes

import "math"

// contrast is the ratio of two colours' luminances as WCAG 2.1 defines it,
// from 1 to 21 (https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio).
func contrast(a, b Color) float64 {
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// luminance is WCAG's relative luminance, from 0 to 1.
func luminance(c Color) float64 {
	v := c.rgba()
	return 0.2126*linear(v.R) + 0.7152*linear(v.G) + 0.0722*linear(v.B)
}

// linear undoes sRGB's gamma.
func linear(v uint8) float64 {
	s := float64(v) / 255
	if s <= 0.04045 {
		return s / 12.92
	}
	return math.Pow((s+0.055)/1.055, 2.4)
}
