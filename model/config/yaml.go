package config

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// FileError is one thing wrong in a file.
type FileError struct {
	File    string
	Line    int // from 1; 0 when it is about the whole file
	Problem string
}

// Error reads "/etc/berth/config.yaml:3: problem".
func (e *FileError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Problem
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

// node is a YAML value with the line it stands on, which go-yaml's decoder
// into structs would lose.
type node struct {
	kind  kind
	text  string // a scalar as written, without quotes
	items []node // of a sequence
	pairs []pair // of a mapping, in the file's order
	line  int
}

type pair struct {
	key   string
	line  int
	value node
}

type kind uint8

const (
	null kind = iota
	scalar
	sequence
	mapping
)

// valueError is a problem at a node below the setting it belongs to.
type valueError struct {
	line    int
	problem string
}

func (e *valueError) Error() string { return e.problem }

func (n node) errorf(format string, args ...any) error {
	return &valueError{line: n.line, problem: fmt.Sprintf(format, args...)}
}

func fileError(path string, p pair, err error) error {
	line := p.line
	var ve *valueError
	if errors.As(err, &ve) && ve.line > 0 {
		line = ve.line
	}
	return &FileError{File: path, Line: line, Problem: p.key + ": " + err.Error()}
}

// parseYAML reads one YAML document; an empty one is a null node. Errors are
// *FileError.
func parseYAML(path string, data []byte) (node, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return node{}, yamlProblem(path, err)
	}
	if len(file.Docs) > 1 {
		return node{}, &FileError{File: path, Problem: "holds more than one YAML document; keep one"}
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return node{}, nil
	}
	n, err := convert(file.Docs[0].Body)
	if err != nil {
		return node{}, yamlProblem(path, err)
	}
	return n, nil
}

func yamlProblem(path string, err error) error {
	var ve *valueError
	if errors.As(err, &ve) {
		return &FileError{File: path, Line: ve.line, Problem: ve.problem}
	}
	fe := &FileError{File: path, Problem: "not valid YAML: " + err.Error()}
	var ye yaml.Error
	if errors.As(err, &ye) {
		fe.Problem = "not valid YAML: " + ye.GetMessage()
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			fe.Line = tk.Position.Line
		}
	}
	return fe
}

func convert(n ast.Node) (node, error) {
	out := node{}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		out.line = tk.Position.Line
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return out, nil
	case *ast.StringNode:
		out.kind, out.text = scalar, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = scalar, n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		out.kind, out.text = scalar, n.GetToken().Value
	case *ast.SequenceNode:
		out.kind = sequence
		for _, v := range n.Values {
			item, err := convert(v)
			if err != nil {
				return out, err
			}
			out.items = append(out.items, item)
		}
	case *ast.MappingValueNode:
		return out, out.addPair(n)
	case *ast.MappingNode:
		out.kind = mapping
		for _, v := range n.Values {
			if err := out.addPair(v); err != nil {
				return out, err
			}
		}
	default:
		return out, out.errorf("%s is not supported here; write the value itself", n.Type())
	}
	return out, nil
}

func (n *node) addPair(m *ast.MappingValueNode) error {
	n.kind = mapping
	key, err := convert(m.Key)
	if err != nil {
		return err
	}
	if key.kind != scalar {
		return key.errorf("a key must be a plain word")
	}
	value, err := convert(m.Value)
	if err != nil {
		return err
	}
	if value.line == 0 {
		value.line = key.line
	}
	n.pairs = append(n.pairs, pair{key: key.text, line: key.line, value: value})
	return nil
}
