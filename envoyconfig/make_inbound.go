// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"maps"
	"net/netip"
	"reflect"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
	"github.com/ambient22/ambient22/internal/mesh"
)

// inboundListeners are the two listeners for what comes to the pods of this node.
type inboundListeners struct {
	policies           []mesh.AuthorizationPolicy
	peerAuthentication []mesh.PeerAuthentication
	pods               []*inboundPod // by address
	tunnel, plaintext  *Resource
}

// inboundPod are a pod's chains in both.
type inboundPod struct {
	inboundInput
	tunnel, plaintext wire.Parts
}

// inboundInput is what the chains of a pod are made from, besides the policies.
type inboundInput struct {
	ip          netip.Addr
	namespace   string
	secret      string
	represented bool
	labels      map[string]string // they say which policies select it, and that it speaks HBONE itself
}

func (i *inboundInput) equal(other *inboundInput) bool {
	return i.ip == other.ip && i.namespace == other.namespace && i.secret == other.secret &&
		i.represented == other.represented && maps.Equal(i.labels, other.labels)
}

// inboundForms adds the frames of both listeners.
func (b *builder) inboundForms(f *forms) error {
	chains := []*listenerv3.FilterChain{{Name: wire.Splice(0)}}
	var err error
	if f.inbound, err = b.template(b.inboundListener(chains)); err != nil {
		return err
	}
	f.plaintext, err = b.template(b.plaintextListener(chains))
	return err
}

// inbound makes both listeners.
func (m *maker) inbound() error {
	old, now := &m.old.inbound, &m.next.inbound
	now.policies, now.peerAuthentication = m.view.snapshot.Policies, m.view.snapshot.PeerAuthentications
	changed, err := m.inboundPods(old, now)
	if err != nil {
		return err
	}
	if !changed && old.tunnel != nil {
		now.tunnel, now.plaintext = old.tunnel, old.plaintext
		return nil
	}
	var tunnel, plaintext []wire.Parts
	for _, p := range now.pods {
		tunnel = append(tunnel, p.tunnel)
		plaintext = append(plaintext, p.plaintext)
	}
	if now.tunnel, err = listener(InboundListener, m.next.forms.inbound, tunnel); err != nil {
		return err
	}
	if now.plaintext, err = listener(InboundPlaintextListener, m.next.forms.plaintext, plaintext); err != nil {
		return err
	}
	now.tunnel, now.plaintext = kept(old.tunnel, now.tunnel), kept(old.plaintext, now.plaintext)
	return nil
}

// inboundPods makes the chains of all pods, and reports whether any are new or gone.
func (m *maker) inboundPods(old, now *inboundListeners) (changed bool, err error) {
	before := map[netip.Addr]*inboundPod{}
	if reflect.DeepEqual(old.policies, now.policies) && reflect.DeepEqual(old.peerAuthentication, now.peerAuthentication) {
		for _, p := range old.pods {
			before[p.ip] = p
		}
	}
	changed = len(old.pods) != len(m.view.captured)
	forms := map[string]*inboundForm{}
	var out wire.Writer
	for _, w := range m.view.captured {
		input := inboundInput{
			ip: w.IP, namespace: w.Namespace, secret: m.view.snapshot.SecretName(w),
			represented: m.view.represented[m.view.identity(w)], labels: w.Labels,
		}
		p := before[w.IP]
		if p == nil || !p.equal(&input) {
			changed = true
			if p, err = m.inboundPod(&out, w, input, forms); err != nil {
				return false, err
			}
		}
		now.pods = append(now.pods, p)
	}
	return changed, nil
}

// inboundForm are the chains of all pods with the same protection.
type inboundForm struct {
	tunnel, plaintext *wire.Template
}

func (b *builder) inboundForm(p *protection) (*inboundForm, error) {
	if err := p.policies.writable(); err != nil {
		return nil, err
	}
	var f inboundForm
	var err error
	if f.tunnel, err = b.template(ofListener(b.inboundChain(anyCallee(), p))); err != nil {
		return nil, err
	}
	f.plaintext, err = b.template(ofListener(b.plaintextChain(anyCallee(), p)))
	return &f, err
}

// inboundPod makes the chains of one pod. forms are those of this edition, by the
// key of the protection.
func (m *maker) inboundPod(out *wire.Writer, w *mesh.Workload, input inboundInput, forms map[string]*inboundForm) (*inboundPod, error) {
	p := m.view.protectionOf(w)
	key := p.key()
	form := forms[key]
	if form == nil {
		var err error
		if form, err = m.leaf.inboundForm(p); err != nil {
			return nil, err
		}
		forms[key] = form
	}
	c := callee{ip: w.IP.String(), secret: input.secret, identity: m.view.identity(w)}
	form.tunnel.Write(out, c.texts(form.tunnel)...)
	out.Cut()
	form.plaintext.Write(out, c.texts(form.plaintext)...)
	pieces, err := out.Finish()
	if err != nil {
		return nil, err
	}
	return &inboundPod{inboundInput: input, tunnel: pieces[0], plaintext: pieces[1]}, nil
}

// ofListener are chains as a listener holds them.
func ofListener(chains ...*listenerv3.FilterChain) *listenerv3.Listener {
	return &listenerv3.Listener{FilterChains: chains}
}

// listener finishes a listener with pieces in its frame.
func listener(name string, frame *wire.Template, pieces ...[]wire.Parts) (*Resource, error) {
	var w wire.Writer
	frame.WriteAround(&w, pieces)
	whole, err := w.Finish()
	if err != nil {
		return nil, err
	}
	return finish(ListenerType, []string{name}, whole)[0], nil
}
