// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambient22/ambient22/internal/kube"
)

// KindConfigMap is the kind of the object that the settings stand in.
const KindConfigMap = "ConfigMap"

// Keys of the ConfigMap. A key that is missing leaves its setting at the default.
const (
	KeyMode              = "mode"              // off, default or on
	KeyDisabledSelectors = "disabledSelectors" // label selectors of namespaces that never take part, one on each line
	KeyTrustDomain       = "trustDomain"
)

// settings are those of the ConfigMap, as last read.
type settings struct {
	defaults         kube.Options
	checkTrustDomain func(string) error

	seen     *corev1.ConfigMap
	good     bool // options are in force
	options  kube.Options
	problems []kube.Problem
}

// read takes a ConfigMap over, or nil where there is none: then the defaults hold.
// One that has anything wrong in it changes nothing.
func (s *settings) read(c *corev1.ConfigMap) {
	if c != nil && c == s.seen {
		return
	}
	s.seen = c
	if c == nil {
		s.good, s.options, s.problems = true, s.defaults, nil
		return
	}
	options, problems := s.parse(c)
	s.problems = problems
	if len(problems) == 0 {
		s.good, s.options = true, options
	}
}

func (s *settings) parse(c *corev1.ConfigMap) (kube.Options, []kube.Problem) {
	options := s.defaults
	var problems []kube.Problem
	wrong := func(key, fix, format string, args ...any) {
		problems = append(problems, kube.Problem{
			Object: objectRef(KindConfigMap, c), Field: "data." + key, What: fmt.Sprintf(format, args...), Fix: fix,
		})
	}
	for _, key := range slices.Sorted(maps.Keys(c.Data)) {
		value := strings.TrimSpace(c.Data[key])
		switch key {
		case KeyMode:
			mode, err := kube.ParseMode(value)
			if err != nil {
				wrong(key, "write off, default or on", "%v", err)
			}
			options.Mode = mode
		case KeyDisabledSelectors:
			selectors, err := kube.ParseSelectors(lines(value))
			if err != nil {
				wrong(key, "write one label selector on each line", "%v", err)
			}
			options.DisabledSelectors = selectors
		case KeyTrustDomain:
			if faults := validation.IsDNS1123Subdomain(value); len(faults) > 0 {
				wrong(key, "write a name such as cluster.local", "%q is no trust domain: %s", value, faults[0])
			} else if err := s.checkTrustDomain(value); err != nil {
				wrong(key, "write the trust domain of the certificates, or leave it out", "%v", err)
			}
			options.TrustDomain = value
		default:
			wrong(key, "", "there is no such setting; there are %s, %s, %s", KeyMode, KeyDisabledSelectors, KeyTrustDomain)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.BinaryData)) {
		wrong(key, "write it as text under data", "it stands under binaryData")
	}
	slices.SortStableFunc(problems, func(a, b kube.Problem) int { return cmp.Compare(a.Field, b.Field) })
	return options, problems
}

// lines are the lines of a text that say something.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}
