// SPDX-License-Identifier: Apache-2.0

package noderoute

import "fmt"

// Variant is one of the kernel's two interfaces for iptables rules. Rules of
// one are not seen by the tools of the other, and packets pass both.
type Variant uint8

const (
	// Auto takes the variant that the node already uses.
	Auto Variant = iota
	// NFT is iptables on nf_tables.
	NFT
	// Legacy is iptables on ip_tables.
	Legacy
)

// String is the name that this project's flags use.
func (v Variant) String() string {
	switch v {
	case NFT:
		return "nft"
	case Legacy:
		return "legacy"
	}
	return "auto"
}

// other is the variant that is not v.
func (v Variant) other() Variant {
	if v == NFT {
		return Legacy
	}
	return NFT
}

// ParseVariant reads "auto", "nft" or "legacy".
func ParseVariant(s string) (Variant, error) {
	for _, v := range []Variant{Auto, NFT, Legacy} {
		if v.String() == s {
			return v, nil
		}
	}
	return Auto, fmt.Errorf("parsing iptables variant %q: it is auto, nft or legacy", s)
}

// decisiveLegacyRules is how many rules decide for legacy at once: a node with
// that many has an owner who lives there, whatever else put a few rules into
// the other variant.
const decisiveLegacyRules = 10

// usage is which variants are installed and how many rules each holds.
type usage struct {
	hasNFT, hasLegacy     bool
	nftRules, legacyRules int
}

// choose takes the variant that the node already uses, and nft where it uses
// neither.
func (u usage) choose() Variant {
	switch {
	case !u.hasLegacy:
		return NFT
	case !u.hasNFT, u.legacyRules > decisiveLegacyRules, u.legacyRules > u.nftRules:
		return Legacy
	}
	return NFT
}

// warning is empty unless both variants hold rules.
func (u usage) warning(using Variant) string {
	if u.nftRules == 0 || u.legacyRules == 0 {
		return ""
	}
	return fmt.Sprintf("both iptables variants hold rules (nft %d, legacy %d); using %s", u.nftRules, u.legacyRules, using)
}
