// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// permissionLists adds "any of these" and "none of those", where there are any.
func permissionLists[T any](all []*rbacv3.Permission, values, not []T, one func(T) *rbacv3.Permission) []*rbacv3.Permission {
	if len(values) > 0 {
		all = append(all, permissionAny(mapped(values, one)))
	}
	if len(not) > 0 {
		all = append(all, &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: permissionAny(mapped(not, one))}})
	}
	return all
}

// principalLists is the same for callers.
func principalLists[T any](all []*rbacv3.Principal, values, not []T, one func(T) *rbacv3.Principal) []*rbacv3.Principal {
	if len(values) > 0 {
		all = append(all, principalAny(mapped(values, one)))
	}
	if len(not) > 0 {
		all = append(all, &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: principalAny(mapped(not, one))}})
	}
	return all
}

func mapped[T, M any](values []T, one func(T) M) []M {
	all := make([]M, len(values))
	for i, v := range values {
		all[i] = one(v)
	}
	return all
}

func permissionAny(any []*rbacv3.Permission) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: any}}}
}

// permissionAll matches everything where nothing is asked for.
func permissionAll(all []*rbacv3.Permission) *rbacv3.Permission {
	if len(all) == 0 {
		all = []*rbacv3.Permission{anything()}
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: all}}}
}

func principalAny(any []*rbacv3.Principal) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: any}}}
}

// principalAll matches everybody where nothing is asked for.
func principalAll(all []*rbacv3.Principal) *rbacv3.Principal {
	if len(all) == 0 {
		all = []*rbacv3.Principal{anybody()}
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: all}}}
}

func anything() *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}}
}

func anybody() *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Any{Any: true}}
}

func authenticated(name *matcherv3.StringMatcher) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Authenticated_{
		Authenticated: &rbacv3.Principal_Authenticated{PrincipalName: name},
	}}
}

func neverMatching() *rbacv3.Policy {
	return &rbacv3.Policy{
		Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_NotRule{NotRule: anything()}}},
		Principals:  []*rbacv3.Principal{{Identifier: &rbacv3.Principal_NotId{NotId: anybody()}}},
	}
}
