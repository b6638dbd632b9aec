// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/adsclient"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/secret"
)

// secretHandler takes the versions of one secret.
type secretHandler struct {
	entry   *secret.Entry
	decoder *config.Decoder
	log     *slog.Logger
}

func (h *secretHandler) Connected(bool) {}

func (h *secretHandler) Update(u *adsclient.Update) []adsclient.Refusal {
	var refused []adsclient.Refusal
	for _, r := range u.Resources {
		if err := h.take(r); err != nil {
			h.entry.Refuse(&secret.Refusal{Version: r.Version, Attempt: time.Now(), Details: err.Error()})
			refused = append(refused, adsclient.Refusal{Name: r.Name, Err: fmt.Errorf("secret: %w", err)})
		}
	}
	// A secret that the server no longer has stays in use, as in Envoy: a
	// certificate does not become invalid by its being withdrawn.
	return refused
}

func (h *secretHandler) take(r adsclient.Resource) error {
	s, err := h.decoder.Secret(r.Body)
	if err != nil {
		return err
	}
	if s.Name != h.entry.Ref.Name {
		return fmt.Errorf("name: is %q, not what was asked for", s.Name)
	}
	if old := h.entry.Get(); old != nil && (old.Certificate == nil) != (s.Certificate == nil) {
		return errors.New("a certificate cannot become a validation context, nor the other way round")
	}
	h.entry.Set(&secret.Value{Secret: s, Version: r.Version, Updated: time.Now()})
	h.log.Info("took secret", "secret", s.Name, "version", r.Version)
	return nil
}
