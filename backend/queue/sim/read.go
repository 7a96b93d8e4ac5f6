package sim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"berth/backend/queue"
)

// The limits of what is read, so that a hostile or mistaken file ends in an
// error and not in all the memory.
const (
	maxLine = 64 << 10
	maxJobs = 5_000_000
)

// Read reads a workload: SWF when name (without .gz) ends in .swf, CSV when it
// ends in .csv, else by what the first line looks like. Compressed input is
// recognised by its first bytes. An error names the line.
func Read(name string, r io.Reader) (Workload, error) {
	in := bufio.NewReader(r)
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return Workload{}, fmt.Errorf("%s: not the gzip file it looks like: %w", name, err)
		}
		defer z.Close()
		in = bufio.NewReader(z)
	}
	read := ReadSWF
	if isCSV(name, in) {
		read = ReadCSV
	}
	w, err := read(in)
	if err != nil {
		return Workload{}, fmt.Errorf("%s: %w", name, err)
	}
	return w, nil
}

// isCSV tells the formats apart, by the name or else by the first line.
func isCSV(name string, in *bufio.Reader) bool {
	switch plain := strings.TrimSuffix(strings.ToLower(name), ".gz"); {
	case strings.HasSuffix(plain, ".csv"):
		return true
	case strings.HasSuffix(plain, ".swf"):
		return false
	}
	start, _ := in.Peek(256) // a short file is all there is: the error says no more
	line, _, _ := bytes.Cut(start, []byte("\n"))
	return bytes.IndexByte(line, ',') >= 0 && line[0] != ';'
}

// lines calls do with each line and its number, from 1.
func lines(r io.Reader, do func(n int, line string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), maxLine)
	n := 0
	for s.Scan() {
		n++
		if err := do(n, s.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("longer than %d bytes", maxLine)
		}
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// ReadSWF reads the Standard Workload Format (Feitelson's Parallel Workloads
// Archive, version 2.2): 18 numbers a line, ";" before comments. Size is field
// 8, or field 5 where that is not positive; run time field 4; estimate field 9;
// owner field 12. Jobs without size, submit time, run time or estimate (-1) are
// left out.
func ReadSWF(r io.Reader) (Workload, error) {
	var w Workload
	err := lines(r, func(_ int, line string) error {
		line = strings.TrimSpace(line)
		if line == "" {
			return nil
		}
		if line[0] == ';' {
			return w.header(line)
		}
		f, err := swfFields(line)
		if err != nil {
			return err
		}
		size := f[7]
		if size <= 0 {
			size = f[4]
		}
		if size <= 0 || f[1] < 0 || f[3] <= 0 || f[8] <= 0 {
			w.LeftOut++
			return nil
		}
		j := Job{
			ID: strconv.FormatInt(f[0], 10), Submit: queue.Time(f[1]), Run: queue.Time(f[3]),
			Estimate: queue.Time(f[8]), Size: queue.Size{VCPU: size},
		}
		if f[11] >= 0 {
			j.Owner = strconv.FormatInt(f[11], 10)
		}
		return w.add(j)
	})
	return w.sorted(), err
}

// header reads what matters of an SWF file's header comments.
func (w *Workload) header(line string) error {
	name, value, ok := strings.Cut(strings.TrimSpace(strings.TrimLeft(line, "; ")), ":")
	if !ok || name != "MaxProcs" {
		return nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil || n < 0 {
		return nil // a comment is free to say anything
	}
	w.Procs = n
	return nil
}

// swfFields is the 18 numbers of a line; those with a fraction lose it.
func swfFields(line string) (f [18]int64, err error) {
	words := strings.Fields(line)
	if len(words) != len(f) {
		return f, fmt.Errorf("%d fields instead of the %d of the Standard Workload Format", len(words), len(f))
	}
	for i, word := range words {
		if f[i], err = number(word); err != nil {
			return f, fmt.Errorf("field %d: %w", i+1, err)
		}
	}
	return f, nil
}

// maxNumber bounds every number, so that sums of millions of them cannot overflow.
const maxNumber = 1 << 40

// number reads a whole number, or the whole part of a decimal one.
func number(word string) (int64, error) {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		var f float64
		if f, err = strconv.ParseFloat(word, 64); err == nil && f > -maxNumber && f < maxNumber {
			n = int64(f)
		} else {
			return 0, fmt.Errorf("%q is not a number", cut(word))
		}
	}
	if n >= maxNumber || n <= -maxNumber {
		return 0, fmt.Errorf("%q is beyond all measure", cut(word))
	}
	return n, nil
}

// cut shortens what an error quotes.
func cut(word string) string {
	if len(word) > 40 {
		return word[:40] + "…"
	}
	return word
}

// csvHeader is the columns of a CSV workload.
const csvHeader = "id,submit,run,est,vcpu,mem_mib"

// ReadCSV reads lines of id,submit,run,est,vcpu,mem_mib; the first may be this
// header. Times are in seconds. Lines that begin with # are comments.
func ReadCSV(r io.Reader) (Workload, error) {
	var w Workload
	err := lines(r, func(n int, line string) error {
		line = strings.TrimSpace(line)
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if line == "" || line[0] == '#' || n == 1 && strings.EqualFold(strings.ReplaceAll(line, " ", ""), csvHeader) {
			return nil
		}
		j, err := csvJob(line)
		if err != nil {
			return err
		}
		return w.add(j)
	})
	return w.sorted(), err
}

// csvJob reads one line.
func csvJob(line string) (Job, error) {
	f := strings.Split(line, ",")
	if len(f) != 6 {
		return Job{}, fmt.Errorf("%d fields instead of the 6 of %s", len(f), csvHeader)
	}
	var n [6]int64
	for i := 1; i < len(f); i++ {
		var err error
		if n[i], err = number(strings.TrimSpace(f[i])); err != nil {
			return Job{}, fmt.Errorf("%s: %w", strings.Split(csvHeader, ",")[i], err)
		}
		if n[i] < 0 {
			return Job{}, fmt.Errorf("%s: %d is negative", strings.Split(csvHeader, ",")[i], n[i])
		}
	}
	if n[3] == 0 {
		return Job{}, errors.New("est: an estimate must be above 0")
	}
	id := strings.TrimSpace(f[0])
	if id == "" {
		return Job{}, errors.New("id: empty")
	}
	return Job{
		ID: id, Submit: queue.Time(n[1]), Run: queue.Time(n[2]), Estimate: queue.Time(n[3]),
		Size: queue.Size{VCPU: n[4], Memory: n[5]},
	}, nil
}

// add appends a job.
func (w *Workload) add(j Job) error {
	if len(w.Jobs) >= maxJobs {
		return fmt.Errorf("more than %d jobs", maxJobs)
	}
	w.Jobs = append(w.Jobs, j)
	return nil
}

// sorted is w in order of submit time, then of the file.
func (w *Workload) sorted() Workload {
	slices.SortStableFunc(w.Jobs, func(a, b Job) int {
		switch {
		case a.Submit < b.Submit:
			return -1
		case a.Submit > b.Submit:
			return 1
		}
		return 0
	})
	return *w
}
