package model

import (
	"errors"
	"strconv"
	"strings"

	"berth/backend"
	"berth/model/config"
)

// keepHelps are the rules of a retention that keep a number of points, and
// what each keeps.
var keepHelps = [][2]string{
	{"last", "the latest ones, whenever they were made"},
	{"hourly", "the last of each of so many hours that have one"},
	{"daily", "the last of each of so many days that have one"},
	{"weekly", "the last of each of so many weeks that have one"},
	{"monthly", "the last of each of so many months that have one"},
	{"yearly", "the last of each of so many years that have one"},
}

// parseKeep reads a retention as config.RetentionText writes it: "last=3
// daily=7 within=30d tag=gold"; a blank may stand for the sign. Nothing keeps
// everything.
func parseKeep(text string) (backend.Retention, error) {
	var r backend.Retention
	ws := strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == ',' || c == '=' })
	if len(ws)%2 != 0 {
		return r, errors.New("a rule and its number in turn, as in: last=3 daily=7 weekly=4")
	}
	for i := 0; i < len(ws); i += 2 {
		if err := config.AddRule(&r, strings.ToLower(ws[i]), ws[i+1]); err != nil {
			return backend.Retention{}, err
		}
	}
	return r, nil
}

// keepFields are the fields of a retention.
func keepFields(r backend.Retention) []Field {
	has := map[string]string{}
	for _, part := range strings.Fields(config.RetentionText(r)) {
		name, value, _ := strings.Cut(part, "=")
		has[name] = strings.TrimSpace(has[name] + " " + value)
	}
	var out []Field
	for _, k := range keepHelps {
		check := func(s string) error { return config.AddRule(&backend.Retention{}, k[0], s) }
		out = append(out, textField("keep-"+k[0], "keep "+k[0], has[k[0]], "0", k[1], optional(check)))
	}
	within := func(s string) error { return config.AddRule(&backend.Retention{}, "within", s) }
	return append(out,
		textField("keep-within", "keep within", has["within"], "nothing", "all that are younger: 30d, 2w", optional(within)),
		textField("keep-tags", "keep tagged", has["tag"], "none", "points with one of these tags stay for ever", nil))
}

// keepOf is the retention that a form's fields stand for.
func keepOf(f *Form) (r backend.Retention, err error) {
	add := func(name, value string) {
		if value != "" {
			err = errors.Join(err, config.AddRule(&r, name, value))
		}
	}
	for _, k := range keepHelps {
		add(k[0], f.Field("keep-"+k[0]).Text())
	}
	add("within", f.Field("keep-within").Text())
	for _, t := range words(f.Field("keep-tags").Text()) {
		add("tag", t)
	}
	return r, err
}

// exactSize writes bytes in the largest unit that divides them, as ParseSize
// reads it.
func exactSize(n int64) string {
	const units = "BKMGTP"
	i := 0
	for n > 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i:i+1]
}
