// SPDX-License-Identifier: Apache-2.0

package dump

import "errors"

// loose sorts files that no dump.json describes.
func (t *tree) loose() ([]*Node, error) {
	return nil, errors.New("it is no archive of ambientctl dump")
}
