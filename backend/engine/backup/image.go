package backup

import (
	"context"
	"fmt"

	"berth/backend"
)

// image copies or converts an image.
func (k *task) image(context.Context) (result, error) {
	return result{}, fmt.Errorf("%w: %s of images", backend.ErrUnsupported, k.x.Spec.Kind)
}
