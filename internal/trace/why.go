// SPDX-License-Identifier: Apache-2.0

package trace

// Why says in a short sentence what the step found.
func (s *Step) Why() string { return s.Note }
