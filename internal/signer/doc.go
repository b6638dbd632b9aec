// SPDX-License-Identifier: Apache-2.0

// Package signer answers the requests for certificates that nodes make through a
// cluster's certificates API (package csr). It holds the mesh's certificate
// authority, in a Secret, and writes its trust bundle to a ConfigMap.
//
// A certificate is a promise about who is where: it is given only where the
// identity's service account has a pod on the node that asks. Which node asks is
// known from the token that the request was made with, which the API server has
// checked; where pods run is asked of the API server for each request. Every
// refusal is a condition on the request that says why, a log line, and a count.
//
// Any number of signers may run; one of them leads, the others stand by.
package signer
