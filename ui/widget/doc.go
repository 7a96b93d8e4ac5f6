// Package widget draws the pieces that screens are made of: tables, boxes,
// gauges, dialogs. All of it is pure: values in, strings out, exactly as wide
// and as high as asked for, counted in terminal cells by
// github.com/charmbracelet/x/ansi. Styles come ready from package themes;
// nothing here looks at the terminal.
//
// Text may hold SGR sequences where a comment says so. Texts of guests must
// have been through backend.Clean; as a second wall, line breaks, tabs and
// other control characters become blanks.
package widget
