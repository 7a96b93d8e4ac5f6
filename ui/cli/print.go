package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/charmbracelet/x/term"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// print writes rows in the plan's format.
func (a *app) print(p listPlan, rows []*model.Row, now time.Time) error {
	out := bufio.NewWriter(a.Stdout)
	var err error
	switch p.format {
	case "json":
		err = printJSON(out, rows, now)
	case "csv":
		err = printCSV(out, p, rows, now)
	case "name":
		err = printNames(out, rows)
	default:
		err = a.printTable(out, p, rows, now)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// printNothing is what a list reads like that no host answered: a title over
// no rows would look as if there were no VMs. JSON stays a list.
func (a *app) printNothing(p listPlan) error {
	if p.format != "json" {
		return nil
	}
	return printJSON(a.Stdout, nil, time.Time{})
}

func printJSON(w io.Writer, rows []*model.Row, now time.Time) error {
	list := make([]record, len(rows))
	for i, r := range rows {
		list[i] = newRecord(r, now)
	}
	return encodeJSON(w, list)
}

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printNames writes one name a line, as host/name where the name alone would
// not say which is meant.
func printNames(w io.Writer, rows []*model.Row) error {
	count := map[string]int{}
	for _, r := range rows {
		count[r.Name]++
	}
	for _, r := range rows {
		name := backend.Clean(r.Name)
		if count[r.Name] > 1 {
			name = backend.Clean(r.Host) + "/" + name
		}
		if _, err := fmt.Fprintln(w, name); err != nil {
			return err
		}
	}
	return nil
}

// width is the terminal's, or 0 when standard output is none.
func (a *app) width() int {
	f, ok := a.Stdout.(*os.File)
	if !ok || !term.IsTerminal(f.Fd()) {
		return 0
	}
	w, _, err := term.GetSize(f.Fd())
	if err != nil {
		return 0 // as wide as it comes
	}
	return w
}

// columnKeys says which of a record's keys hold a column's raw values, where
// they are not called alike.
var columnKeys = map[string][]string{
	"vcpu":       {"vcpus"},
	"cpu":        {"cpu_percent"},
	"cpu_own":    {"cpu_own_percent"},
	"mem":        {"memory_bytes", "memory_max_bytes"},
	"disk_read":  {"disk_read_bps"},
	"disk_write": {"disk_write_bps"},
	"disk_ops":   {"disk_iops"},
	"net_rx":     {"net_rx_bps"},
	"net_tx":     {"net_tx_bps"},
	"ip":         {"addresses"},
	"uptime":     {"uptime_s"},
	"stale":      {"stale_s"},
	"backup":     {"backup_at"},
}

// printCSV writes raw values under the keys of JSON. What is not known is
// empty; lists are joined by blanks.
func printCSV(w io.Writer, p listPlan, rows []*model.Row, now time.Time) error {
	var keys []string
	for _, f := range recordFields() {
		keys = append(keys, f.key)
	}
	if p.chosen {
		keys = p.csvKeys()
	}
	out := csv.NewWriter(w)
	if err := out.Write(keys); err != nil {
		return err
	}
	for _, r := range rows {
		values := recordValues(newRecord(r, now))
		values["mem_percent"] = csvNumber(rounded(r.MemoryPercent(), 2))
		line := make([]string, len(keys))
		for i, k := range keys {
			line[i] = values[k]
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func (p listPlan) csvKeys() []string {
	var keys []string
	for _, c := range p.columns {
		if k, ok := columnKeys[c.ID]; ok {
			keys = append(keys, k...)
		} else {
			keys = append(keys, c.ID)
		}
	}
	return keys
}

// textOrJSON adds the flag --output to a command that tells what it did.
func textOrJSON(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", "text", "`FORMAT`: text or json")
	completeFlag(cmd, "output", fixed("text", "json"))
}
