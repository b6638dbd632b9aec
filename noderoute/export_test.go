// SPDX-License-Identifier: Apache-2.0

package noderoute

import "context"

// ApplySteps is an Apply that ends after so many steps as if the process had
// been killed: nothing is undone. It returns how many steps there were to do.
func (n *Node) ApplySteps(ctx context.Context, c HostConfig, most int) (int, error) {
	return n.firstSteps(ctx, most, func(s *session) (Changes, *listing, error) {
		p, l, err := s.hostPlan(c)
		return steps(p, l), l, err
	})
}

// CleanupSteps is the same for Cleanup.
func (n *Node) CleanupSteps(ctx context.Context, most int) (int, error) {
	return n.firstSteps(ctx, most, func(s *session) (Changes, *listing, error) {
		l, err := s.list(Plan{Side: Host})
		if err != nil {
			return Changes{}, nil, err
		}
		return teardown(Host, l), l, nil
	})
}

func (n *Node) firstSteps(ctx context.Context, most int, plan func(*session) (Changes, *listing, error)) (int, error) {
	all := 0
	_, err := n.in(ctx, Host, func(s *session) error {
		c, l, err := plan(s)
		if err != nil {
			return err
		}
		all = len(c.steps)
		c.steps = c.steps[:min(most, all)]
		return s.apply(Host, c, l)
	})
	return all, err
}
