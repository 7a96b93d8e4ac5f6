package libvirt

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// infoWait bounds one qemu-img info.
const infoWait = 20 * time.Second

// imageInfo is what qemu-img tells of an image (qapi/block-core.json, ImageInfo).
type imageInfo struct {
	Format    string `json:"format"`
	Virtual   int64  `json:"virtual-size"`
	Actual    int64  `json:"actual-size"`
	Backing   string `json:"full-backing-filename"`
	Encrypted bool   `json:"encrypted"`
	Specific  struct {
		Data struct {
			Compat  string       `json:"compat"`
			Bitmaps []bitmapInfo `json:"bitmaps"`
		} `json:"data"`
	} `json:"format-specific"`
}

// bitmapInfo is a stored dirty bitmap.
type bitmapInfo struct {
	Name  string   `json:"name"`
	Flags []string `json:"flags"` // "in-use", "auto"
}

// usable says why a bitmap cannot be trusted, or nothing.
func (i *imageInfo) usable(name string) (why string) {
	for _, b := range i.Specific.Data.Bitmaps {
		if b.Name != name {
			continue
		}
		if slices.Contains(b.Flags, "in-use") {
			return "the checkpoint's dirty bitmap was not closed: QEMU was killed"
		}
		if !slices.Contains(b.Flags, "auto") {
			return "the checkpoint's dirty bitmap was not recording"
		}
		return ""
	}
	return "the image has no dirty bitmap of that checkpoint"
}

// inspect asks qemu-img, without locking the image.
func inspect(ctx context.Context, m dial.Machine, path, format string) (*imageInfo, error) {
	return imageInfoOf(ctx, m, path, format, "--force-share")
}

// inspectUnwritten asks qemu-img, and fails with backend.ErrLocked when
// somebody writes to the image.
func inspectUnwritten(ctx context.Context, m dial.Machine, path, format string) (*imageInfo, error) {
	return imageInfoOf(ctx, m, path, format)
}

func imageInfoOf(ctx context.Context, m dial.Machine, path, format string, flags ...string) (*imageInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	argv := append([]string{"qemu-img", "info", "--output=json"}, flags...)
	if format != "" {
		argv = append(argv, "-f", format)
	}
	out, err := m.Run(ctx, append(argv, "--", path)...)
	if err != nil {
		return nil, explainServer(err)
	}
	i := new(imageInfo)
	if err := json.Unmarshal([]byte(out), i); err != nil {
		return nil, fmt.Errorf("%w: qemu-img's answer about %s cannot be read: %w", backend.ErrInvalid, backend.Clean(path), err)
	}
	return i, nil
}

// has reports whether the image stores a bitmap of that name.
func (i *imageInfo) has(name string) bool {
	return slices.ContainsFunc(i.Specific.Data.Bitmaps, func(b bitmapInfo) bool { return b.Name == name })
}
