package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model/config"
)

// keepFlags are the rules of a retention.
type keepFlags struct {
	rules backend.Retention
}

const keepHelp = `A point that any rule keeps is kept: the latest --keep-last N of each VM, the
latest point of each of the N latest hours, days, weeks (ISO), months and years
that have one, all of the last --keep-within TIME, and those with a --keep-tag.
Rules count for each VM on its own.`

func (f *keepFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	for _, r := range []struct {
		name, what string
		to         *int
	}{
		{"keep-last", "the latest `N` points", &f.rules.Last},
		{"keep-hourly", "one for each of the latest `N` hours that have one", &f.rules.Hourly},
		{"keep-daily", "one for each of the latest `N` days", &f.rules.Daily},
		{"keep-weekly", "one for each of the latest `N` weeks", &f.rules.Weekly},
		{"keep-monthly", "one for each of the latest `N` months", &f.rules.Monthly},
		{"keep-yearly", "one for each of the latest `N` years", &f.rules.Yearly},
	} {
		fl.Var((*countValue)(r.to), r.name, r.what)
		completeFlag(cmd, r.name, fixed())
	}
	fl.Var((*spanValue)(&f.rules.Within), "keep-within", "all of the last `TIME`, as 30d")
	fl.StringArrayVar(&f.rules.Tags, "keep-tag", nil, "all with `TAG`; may be given several times")
	completeFlag(cmd, "keep-within", fixed("2d", "7d", "30d"))
	completeFlag(cmd, "keep-tag", fixed())
}

// countValue is a flag's number of points.
type countValue int

func (v *countValue) Type() string { return "N" }

// String is what help shows as the default: nothing.
func (v *countValue) String() string {
	if v == nil || *v == 0 {
		return ""
	}
	return strconv.Itoa(int(*v))
}

// Set reads a flag's value.
func (v *countValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of points; write 1 or more", s)
	}
	*v = countValue(n)
	return nil
}

// keepText is a retention for people.
func keepText(r backend.Retention) string {
	if r.IsZero() {
		return "everything"
	}
	return config.RetentionText(r)
}
