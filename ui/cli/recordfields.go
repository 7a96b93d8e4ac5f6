package cli

import (
	"reflect"
	"strconv"
	"strings"
)

// recordField is one key of record, with its place in the struct.
type recordField struct {
	key   string
	index int
}

// recordFields lists a record's keys in the order of its JSON.
func recordFields() []recordField {
	t := reflect.TypeFor[record]()
	out := make([]recordField, t.NumField())
	for i := range out {
		out[i] = recordField{key: t.Field(i).Tag.Get("json"), index: i}
	}
	return out
}

// recordValues are a record's values as text, by key.
func recordValues(rec record) map[string]string {
	v := reflect.ValueOf(rec)
	out := make(map[string]string, v.NumField())
	for _, f := range recordFields() {
		out[f.key] = plainText(v.Field(f.index).Interface())
	}
	return out
}

func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, " ")
	case bool:
		return strconv.FormatBool(v)
	case *float64:
		return csvNumber(v)
	case *int32:
		if v != nil {
			return strconv.Itoa(int(*v))
		}
	case *string:
		if v != nil {
			return *v
		}
	}
	return ""
}

func csvNumber(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}
