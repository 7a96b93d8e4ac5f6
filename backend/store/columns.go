package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"berth/backend"
)

// column ties one column of a table to one field of T, so that every statement
// is made from the same list.
type column[T any] struct {
	name string
	put  func(*T) (any, error)      // the field as SQLite keeps it
	get  func(v any, into *T) error // and back; NULL leaves the zero value
}

func integer[T any, I ~int | ~int64 | ~uint64](name string, field func(*T) *I) column[T] {
	return column[T]{
		name, func(t *T) (any, error) { return int64(*field(t)), nil },
		func(v any, into *T) error { return as(v, name, func(n int64) { *field(into) = I(n) }) },
	}
}

func flag[T any](name string, field func(*T) *bool) column[T] {
	return column[T]{
		name, func(t *T) (any, error) {
			if *field(t) {
				return int64(1), nil
			}
			return int64(0), nil
		},
		func(v any, into *T) error { return as(v, name, func(n int64) { *field(into) = n != 0 }) },
	}
}

func real[T any](name string, field func(*T) *float64) column[T] {
	return column[T]{
		name, func(t *T) (any, error) { return *field(t), nil },
		func(v any, into *T) error { return as(v, name, func(x float64) { *field(into) = x }) },
	}
}

func text[T any, S ~string](name string, field func(*T) *S) column[T] {
	return column[T]{
		name, func(t *T) (any, error) { return string(*field(t)), nil },
		func(v any, into *T) error { return as(v, name, func(s string) { *field(into) = S(s) }) },
	}
}

// moment keeps a time to the nanosecond, without its zone: it comes back in
// the local one.
func moment[T any](name string, field func(*T) *time.Time) column[T] {
	return column[T]{
		name, func(t *T) (any, error) { return instant(*field(t)), nil },
		func(v any, into *T) error { return as(v, name, func(n int64) { *field(into) = time.Unix(0, n) }) },
	}
}

// instant is a time as SQLite keeps it: nil for none.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

// list keeps a slice as JSON, and an empty one as "".
func list[T, E any](name string, field func(*T) *[]E) column[T] {
	return column[T]{
		name, func(t *T) (any, error) {
			if len(*field(t)) == 0 {
				return "", nil
			}
			b, err := json.Marshal(*field(t))
			return string(b), err
		},
		func(v any, into *T) error {
			if v == "" {
				return nil
			}
			return parse(v, name, func(s string) error { return json.Unmarshal([]byte(s), field(into)) })
		},
	}
}

// object keeps a value as JSON; fix, if any, mends what JSON does not tell.
func object[T, V any](name string, field func(*T) *V, fix func(*V)) column[T] {
	return column[T]{
		name, func(t *T) (any, error) {
			b, err := json.Marshal(field(t))
			return string(b), err
		},
		func(v any, into *T) error {
			err := parse(v, name, func(s string) error { return json.Unmarshal([]byte(s), field(into)) })
			if err == nil && v != nil && fix != nil {
				fix(field(into))
			}
			return err
		},
	}
}

func uuid[T any](name string, field func(*T) *backend.UUID) column[T] {
	return column[T]{
		name, func(t *T) (any, error) { return field(t).String(), nil },
		func(v any, into *T) error {
			return parse(v, name, func(s string) (err error) {
				*field(into), err = backend.ParseUUID(s)
				return err
			})
		},
	}
}

// amount is three columns.
func amount[T any](prefix string, field func(*T) *backend.Resources) []column[T] {
	return []column[T]{
		integer(prefix+"vcpu", func(t *T) *int { return &field(t).VCPU }),
		integer(prefix+"memory", func(t *T) *uint64 { return &field(t).Memory }),
		integer(prefix+"disk", func(t *T) *uint64 { return &field(t).Disk }),
	}
}

// as hands v to set if it is a V; NULL is left out.
func as[V any](v any, name string, set func(V)) error {
	switch v := v.(type) {
	case nil:
	case V:
		set(v)
	default:
		return fmt.Errorf("%w: column %s holds %T", ErrCorrupt, name, v)
	}
	return nil
}

// parse hands v to set, which understands what is kept as text.
func parse(v any, name string, set func(string) error) (err error) {
	if e := as(v, name, func(s string) { err = set(s) }); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("%w: column %s: %w", ErrCorrupt, name, err)
	}
	return nil
}

// names lists columns for a statement, each behind prefix.
func names[T any](cols []column[T], prefix string) string {
	var b strings.Builder
	for i, c := range cols {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(prefix + c.name)
	}
	return b.String()
}

// marks is "?, ?, ..." for n values.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// values are a row's, in the order of cols.
func values[T any](cols []column[T], t *T) ([]any, error) {
	out := make([]any, len(cols))
	for i, c := range cols {
		v, err := c.put(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		out[i] = v
	}
	return out, nil
}

// load sets what cols say from a row.
func load[T any](cols []column[T], vals []any, into *T) error {
	for i, c := range cols {
		if err := c.get(vals[i], into); err != nil {
			return err
		}
	}
	return nil
}
