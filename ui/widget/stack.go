package widget

import (
	"math"
	"strings"

	"berth/themes"
)

// Share is a part of a stacked bar.
type Share struct {
	Value float64
	Glyph string // one cell wide, and unlike the others', so that colour is not needed
	Style themes.Style
}

// StackGlyphs are four fillings that can be told apart without colour, from
// the fullest to the emptiest, in the characters that g has.
func StackGlyphs(g *themes.Glyphs) [4]string {
	if g.ASCII {
		return [4]string{"#", "%", "=", "."}
	}
	return [4]string{"█", "▓", "▒", "░"}
}

// Stack draws parts of total side by side in exactly w cells; what they leave
// is drawn with rest. A part that is not nothing shows as long as there is
// room, and what is not quite full does not look full; parts that exceed total
// fill the bar in their order.
func Stack(parts []Share, total float64, w int, rest Share) string {
	if w <= 0 {
		return ""
	}
	var b strings.Builder
	used, sum := 0, 0.0
	for _, p := range parts {
		if !(p.Value > 0) || !(total > 0) { // NaN too
			continue
		}
		sum += p.Value
		most := w
		if sum < total && w > len(parts) {
			most = w - 1
		}
		end := max(used, min(most, max(used+1, int(math.Round(min(sum/total, 1)*float64(w))))))
		p.Style.WriteTo(&b, repeat(p.Glyph, end-used))
		used = max(used, end)
	}
	rest.Style.WriteTo(&b, repeat(rest.Glyph, w-used))
	return b.String()
}
