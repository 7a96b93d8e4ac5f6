package model

import (
	"fmt"
	"strings"
)

// KeysMarkdown is the README's list of keys, made from the action table.
func KeysMarkdown() string {
	var b strings.Builder
	table := actionTable()
	for _, g := range Groups() {
		fmt.Fprintf(&b, "**%s**\n\n| key | command | what |\n|---|---|---|\n", g)
		for i := range table {
			x := &table[i]
			if x.Group != g {
				continue
			}
			keys := make([]string, len(x.Keys))
			for j, k := range x.Keys {
				keys[j] = "`" + strings.ReplaceAll(KeyName(k), "|", "\\|") + "`"
			}
			command := "`:" + x.ID + "`"
			if x.Silent {
				command = ""
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(keys, " "), command, x.Help)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// CommandsMarkdown is the README's list of palette commands that take an
// argument.
func CommandsMarkdown() string {
	var b strings.Builder
	b.WriteString("| command | what |\n|---|---|\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "| `:%s` | %s |\n", strings.TrimSpace(c.name+" "+c.arg), c.help)
	}
	return b.String()
}

// FilterMarkdown is the README's list of filter keys.
func FilterMarkdown() string {
	var b strings.Builder
	b.WriteString("| key | what |\n|---|---|\n")
	for _, k := range FilterKeys() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", k.Name, k.Help)
	}
	return b.String()
}
