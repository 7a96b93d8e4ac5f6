package image

import (
	"context"
	"errors"
	"strings"

	"berth/backend/image/disk"
)

// Checksum makes digests of a file's bytes, as sha256sum and b3sum do: "blake3"
// and "sha256". Holes are not read. It returns them in hexadecimal by name.
func Checksum(ctx context.Context, path string, names []string, force bool, report Progress) (_ map[string]string, err error) {
	src, err := openSource(ctx, "read", path, force)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	return checksum(ctx, src.Reader, src.data, CopyOptions{Sums: names, Progress: report})
}

func checksum(ctx context.Context, src disk.Reader, data int64, o CopyOptions) (map[string]string, error) {
	o.NoHash, o.phase = true, PhaseHashing
	res, err := copyFrom(ctx, src, data, nil, o)
	if err != nil {
		return nil, err
	}
	return res.Sums, nil
}

// SumLine is a line as sha256sum and b3sum write and check them: a name with
// line breaks or backslashes is escaped, which a backslash before it tells.
func SumLine(sum, name string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	if escaped != name {
		return `\` + sum + "  " + escaped
	}
	return sum + "  " + name
}
