package cli

import (
	"fmt"
	"strconv"
	"strings"

	"berth/model"
	"berth/model/config"
)

// parseRate reads bytes a second as people write them: "50M", "50M/s"; "none"
// and 0 are no limit. A few bytes a second are a forgotten unit.
func parseRate(s string) (int64, error) {
	if s == "none" {
		return 0, nil
	}
	n, err := config.ParseSize(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return 0, err
	}
	if n > 0 && n < 1024 {
		return 0, fmt.Errorf("%q is less than 1K a second; write 50M", s)
	}
	return int64(n), nil
}

// rateValue is a flag's bytes a second, as 50M or 50M/s; "none" is 0.
type rateValue int64

func (v *rateValue) Type() string { return "RATE" }

// String is what help shows as the default: nothing.
func (v *rateValue) String() string {
	if v == nil || *v == 0 {
		return ""
	}
	return model.Bytes(float64(*v)) + "/s"
}

// Set reads a flag's value.
func (v *rateValue) Set(s string) error {
	n, err := parseRate(s)
	if err == nil {
		*v = rateValue(n)
	}
	return err
}

// percentValue is a flag's share in percent, with or without its sign.
type percentValue float64

func (v *percentValue) Type() string { return "PERCENT" }

// String is what help shows as the default: nothing.
func (v *percentValue) String() string {
	if v == nil || *v == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*v), 'f', -1, 64) + "%"
}

// Set reads a flag's value.
func (v *percentValue) Set(s string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) {
		return fmt.Errorf("%q is not a share; write 5%% or another above 0%% to 100%%", s)
	}
	*v = percentValue(n)
	return nil
}
