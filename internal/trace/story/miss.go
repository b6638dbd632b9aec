// SPDX-License-Identifier: Apache-2.0

package story

// explainMiss says why the packet was not captured.
func (t *teller) explainMiss() *Miss {
	return &Miss{Captured: t.s.Outcome.Captured}
}
