// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/ambient22/ambient22/internal/csr"
)

// Reasons of a refusal, as conditions and the metric's label have them.
const (
	ReasonRequester   = "WrongRequester"
	ReasonNoNode      = "NoNodeInToken"
	ReasonMalformed   = "MalformedRequest"
	ReasonNames       = "WrongNames"
	ReasonTrustDomain = "WrongTrustDomain"
	ReasonUsages      = "WrongUsages"
	ReasonKey         = "WeakKey"
	ReasonLifetime    = "WrongLifetime"
	ReasonNoSuchNode  = "NoSuchNode"
	ReasonNoPod       = "NoPodOnNode"
)

// Reasons are all of them.
func Reasons() []string {
	return []string{ReasonRequester, ReasonNoNode, ReasonMalformed, ReasonNames, ReasonTrustDomain, ReasonUsages,
		ReasonKey, ReasonLifetime, ReasonNoSuchNode, ReasonNoPod}
}

// Refusal is why a request is not signed. The message says what to do about it.
type Refusal struct{ Reason, Message string }

func (r *Refusal) Error() string { return r.Reason + ": " + r.Message }

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Claims of the requester's token, as the API server writes them into a request.
const (
	claimNode    = "authentication.kubernetes.io/node-name"
	claimNodeUID = "authentication.kubernetes.io/node-uid"
)

// MinTTL is the shortest lifetime that can be asked for, and given.
const MinTTL = time.Minute

// Policy is who may ask for what.
type Policy struct {
	Domain    spiffeid.TrustDomain
	Requester string        // the user name of the node controllers, "system:serviceaccount:NAMESPACE:NAME"
	TTL       time.Duration // given where none or a longer one is asked for
}

// Asked is what a request asks for. Nothing in it says yet that it may have it.
type Asked struct {
	ID             spiffeid.ID
	Namespace      string
	ServiceAccount string
	Node           string // by the requester's token
	NodeUID        string // likewise; "" where the token doesn't say
	Key            crypto.PublicKey
	TTL            time.Duration
}

// Check reads a request and judges what can be judged without looking at the
// cluster. It returns either what is asked for or a refusal.
func (p Policy) Check(c *certificatesv1.CertificateSigningRequest) (*Asked, *Refusal) {
	asked := &Asked{}
	for _, step := range []func(*certificatesv1.CertificateSigningRequest, *Asked) *Refusal{
		p.requester, node, usages, p.lifetime, p.content,
	} {
		if refusal := step(c, asked); refusal != nil {
			return nil, refusal
		}
	}
	return asked, nil
}

func (p Policy) requester(c *certificatesv1.CertificateSigningRequest, _ *Asked) *Refusal {
	if c.Spec.SignerName != csr.SignerName {
		return refuse(ReasonRequester, "the request is for the signer %q, this is %s", c.Spec.SignerName, csr.SignerName)
	}
	if c.Spec.Username != p.Requester {
		return refuse(ReasonRequester, "%q asked, and only %s may: workloads get their certificates from the controller of their node",
			c.Spec.Username, p.Requester)
	}
	return nil
}

// node reads which node asks. The API server fills the claims in from the token
// that it checked; what a client writes there itself is thrown away.
func node(c *certificatesv1.CertificateSigningRequest, asked *Asked) *Refusal {
	names := c.Spec.Extra[claimNode]
	if len(names) != 1 || names[0] == "" {
		return refuse(ReasonNoNode, "the requester's token names %d nodes, and must name one: use the token that Kubernetes mounts into "+
			"the controller's pod, which is bound to that pod and with it to its node (Kubernetes 1.30 or newer)", len(names))
	}
	asked.Node = names[0]
	switch uids := c.Spec.Extra[claimNodeUID]; len(uids) {
	case 0:
	case 1:
		asked.NodeUID = uids[0]
	default:
		return refuse(ReasonNoNode, "the requester's token has %d node UIDs", len(uids))
	}
	return nil
}

func usages(c *certificatesv1.CertificateSigningRequest, _ *Asked) *Refusal {
	for _, usage := range c.Spec.Usages {
		if !slices.Contains(csr.Usages(), usage) {
			return refuse(ReasonUsages, "the usage %q is not given; ask for %s", usage, usageList())
		}
	}
	for _, usage := range []certificatesv1.KeyUsage{certificatesv1.UsageServerAuth, certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature} {
		if !slices.Contains(c.Spec.Usages, usage) {
			return refuse(ReasonUsages, "the usage %q is missing; ask for %s", usage, usageList())
		}
	}
	return nil
}

func usageList() string {
	var list []string
	for _, usage := range csr.Usages() {
		list = append(list, string(usage))
	}
	return strings.Join(list, ", ")
}

// lifetime is the one asked for, cut to the longest that is given.
func (p Policy) lifetime(c *certificatesv1.CertificateSigningRequest, asked *Asked) *Refusal {
	asked.TTL = p.TTL
	if c.Spec.ExpirationSeconds == nil {
		return nil
	}
	want := time.Duration(*c.Spec.ExpirationSeconds) * time.Second
	if want < MinTTL {
		return refuse(ReasonLifetime, "expirationSeconds is %d, and must be at least %d", *c.Spec.ExpirationSeconds, int(MinTTL.Seconds()))
	}
	asked.TTL = min(want, p.TTL)
	return nil
}
