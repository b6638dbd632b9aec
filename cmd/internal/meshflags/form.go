// SPDX-License-Identifier: Apache-2.0

package meshflags

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/envoyconfig"
)

// Form are the flags that say in which form a ztunnel is served, as they are typed.
type Form struct {
	profile string
	dialect string
}

// Register adds the flags, with their defaults, to a command's.
func (o *Form) Register(f *pflag.FlagSet) {
	f.StringVar(&o.profile, "profile", envoyconfig.Article.String(),
		"article (what the 2022 system served, with its weaknesses) or hardened (those closed)")
	f.StringVar(&o.dialect, "dialect", envoyconfig.Istio116.String(),
		"whose proxy is served: istio-1.16 (the Envoy in its image) or upstream (Envoy as released, from 1.28)")
}

// Options are the checked flags, as options of a build for no node yet. The error
// names every flag that is wrong.
func (o *Form) Options() (envoyconfig.Options, error) {
	profile, err1 := envoyconfig.ParseProfile(o.profile)
	dialect, err2 := envoyconfig.ParseDialect(o.dialect)
	if err1 != nil {
		err1 = fmt.Errorf("--profile: %w", err1)
	}
	if err2 != nil {
		err2 = fmt.Errorf("--dialect: %w", err2)
	}
	if err := errors.Join(err1, err2); err != nil {
		return envoyconfig.Options{}, err
	}
	return envoyconfig.Options{Profile: profile, Dialect: dialect}, nil
}
