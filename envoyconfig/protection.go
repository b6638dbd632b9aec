// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"fmt"
	"slices"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
	"github.com/ambient22/ambient22/internal/mesh"
)

// callee is a pod that is called, by the names that its inbound chains show.
type callee struct {
	ip       string
	secret   string // the certificate that its tunnels end with
	identity string // SPIFFE URI
}

// anyCallee stands for every pod in the form of an inbound chain.
func anyCallee() callee {
	return callee{ip: wire.Hole(0), secret: wire.Hole(1), identity: wire.Hole(2)}
}

// texts take the places of anyCallee's names, as far as a form has them.
func (c callee) texts(form *wire.Template) []string {
	return []string{c.ip, c.secret, c.identity}[:form.Texts()]
}

// protection is what the inbound chains of a pod are made from, besides its names:
// all pods that have the same of it share a form.
type protection struct {
	native      bool // the pod ends tunnels itself
	represented bool // a waypoint stands in front
	policies    policySet
	strict      strictPorts
}

func (v *view) protectionOf(w *mesh.Workload) *protection {
	return &protection{
		native:      w.NativeHBONE(),
		represented: v.represented[v.identity(w)],
		policies:    policiesOf(v.snapshot, w),
		strict:      strictPortsOf(v.snapshot, w),
	}
}

// key tells protections of one mesh apart.
func (p *protection) key() string {
	return fmt.Sprint(p.native, p.represented, p.strict, p.policies.key)
}

// writable refuses policies with texts that a form could not be written with.
func (s policySet) writable() error {
	for _, p := range slices.Concat(s.deny, s.allow) {
		texts := []string{p.Namespace, p.Name}
		for i := range p.Rules {
			texts = append(texts, ruleTexts(&p.Rules[i])...)
		}
		for _, text := range texts {
			if err := writable(text); err != nil {
				return fmt.Errorf("writing policy %s/%s: %w", p.Namespace, p.Name, err)
			}
		}
	}
	return nil
}

// ruleTexts are all texts that a rule brings along.
func ruleTexts(r *mesh.Rule) []string {
	var texts []string
	for _, s := range slices.Concat(r.From, r.WhenCaller) {
		texts = slices.Concat(texts, s.Principals, s.NotPrincipals, s.Namespaces, s.NotNamespaces)
	}
	for _, o := range slices.Concat(r.To, r.WhenCalled) {
		texts = slices.Concat(texts, o.SNI, o.NotSNI)
	}
	return texts
}
