// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/ambient22/ambient22/internal/ca"
)

// Keys of the Secret. The first two may be somebody's own, made beforehand.
const (
	keySigningCert = "ca.crt"
	keySigningKey  = "ca.key"
	keyNextCert    = "next.crt"
	keyNextKey     = "next.key"
	keyNextSince   = "next-since"   // RFC 3339; missing until the bundle with it is in place
	keyRetired     = "retired.json" // certificates that are still trusted, and until when
)

// AnnotationRotate asks for a new root when it stands on the Secret, with any value.
// The signer takes it away when it has made one.
const AnnotationRotate = "ambient22.io/rotate"

// startOver is the way out that always works, and its price.
const startOver = "restore the Secret, or scale ambient-signer to 0, delete the Secret and scale it up again: " +
	"that makes a new root, and calls fail until every workload has a new certificate"

type retiredJSON struct {
	Certificate string    `json:"certificate"`
	Until       time.Time `json:"until"`
}

// encode is the authority as a Secret's data.
func (a *authority) encode() (map[string][]byte, error) {
	data := map[string][]byte{}
	put := func(r *ca.Root, cert, key string) error {
		keyPEM, err := r.KeyPEM()
		if err == nil {
			data[cert], data[key] = r.CertificatePEM(), keyPEM
		}
		return err
	}
	err := put(a.signing, keySigningCert, keySigningKey)
	if a.next != nil {
		err = errors.Join(err, put(a.next, keyNextCert, keyNextKey))
		if !a.since.IsZero() {
			data[keyNextSince] = []byte(a.since.UTC().Format(time.RFC3339Nano))
		}
	}
	if len(a.retired) > 0 {
		var list []retiredJSON
		for _, r := range a.retired {
			list = append(list, retiredJSON{Certificate: string(r.certPEM), Until: r.until.UTC()})
		}
		text, err2 := json.Marshal(list)
		err = errors.Join(err, err2)
		data[keyRetired] = text
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the authority: %w", err)
	}
	return data, nil
}

// decode reads a Secret's data.
func decode(domain spiffeid.TrustDomain, data map[string][]byte, now time.Time) (*authority, error) {
	a := &authority{}
	var err error
	if a.signing, err = ca.ParseRoot(domain, data[keySigningCert], data[keySigningKey], now); err != nil {
		return nil, fmt.Errorf("%s, %s: %w: %s", keySigningCert, keySigningKey, err, startOver)
	}
	if len(data[keyNextCert])+len(data[keyNextKey]) > 0 {
		if a.next, err = ca.ParseRoot(domain, data[keyNextCert], data[keyNextKey], now); err != nil {
			return nil, fmt.Errorf("%s, %s: %w: remove these keys and %s", keyNextCert, keyNextKey, err, keyNextSince)
		}
		if since := data[keyNextSince]; len(since) > 0 {
			if a.since, err = time.Parse(time.RFC3339Nano, string(since)); err != nil {
				return nil, fmt.Errorf("%s: %w: remove the key", keyNextSince, err)
			}
		}
	}
	if a.retired, err = decodeRetired(data[keyRetired]); err != nil {
		return nil, fmt.Errorf("%s: %w: remove the key, if nothing that an earlier root signed is in use", keyRetired, err)
	}
	return a, nil
}

func decodeRetired(text []byte) ([]retired, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var list []retiredJSON
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	var all []retired
	for _, r := range list {
		certPEM, n, err := ca.ParseBundle([]byte(r.Certificate))
		if err != nil {
			return nil, err
		}
		if n != 1 {
			return nil, fmt.Errorf("an entry has %d certificates", n)
		}
		all = append(all, retired{certPEM: certPEM, until: r.Until})
	}
	return all, nil
}
