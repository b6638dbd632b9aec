// SPDX-License-Identifier: Apache-2.0

// Package nodediff compares a node's dump with what should be there: this
// project's plan, the article's listings, another dump. It recognises which
// generation of Istio's interception a dump shows.
package nodediff
