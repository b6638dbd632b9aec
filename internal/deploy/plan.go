// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Action is what an install does with one object.
type Action string

// The actions.
const (
	Create Action = "create"
	Change Action = "change"
	Keep   Action = "keep"
	Remove Action = "remove"
)

// Step is one object of a plan.
type Step struct {
	Action Action
	Object *unstructured.Unstructured
}

// Plan is what an install would do, in the order it would do it. The API server has
// checked every step.
type Plan []Step

// Count is how many steps have that action.
func (p Plan) Count(a Action) int {
	n := 0
	for _, s := range p {
		if s.Action == a {
			n++
		}
	}
	return n
}

// Idle reports whether the cluster has everything already.
func (p Plan) Idle() bool { return p.Count(Keep) == len(p) }

// String is the plan in one line.
func (p Plan) String() string {
	return fmt.Sprintf("%d to create, %d to change, %d to remove, %d as they should be",
		p.Count(Create), p.Count(Change), p.Count(Remove), p.Count(Keep))
}

// Installer applies objects.
type Installer struct {
	Client *Client
	// Force takes over fields that somebody else has set. Without it such a field is
	// an error that names both.
	Force bool
}

// Plan asks the API server what applying the objects would do, and checks that it
// would take all of them; every fault that is found is in the error. Nothing is
// written.
func (i *Installer) Plan(ctx context.Context, objects []*unstructured.Unstructured) (Plan, error) {
	objects, err := i.placed(objects)
	if err != nil {
		return nil, err
	}
	missing := map[string]bool{} // namespaces that are not there yet
	var plan Plan
	var faults []error
	for _, o := range inOrder(withNamespaces(objects)) {
		step, err := i.step(ctx, o, missing)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", Title(o), err))
			continue
		}
		if step.Object != nil {
			plan = append(plan, step)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	stale, err := i.stale(ctx, plan)
	if err != nil {
		return nil, err
	}
	for _, o := range slices.Backward(inOrder(stale)) {
		if o.GetName() == cleaner {
			plan = append(Plan{{Remove, o}}, plan...) // it works against what comes
			continue
		}
		plan = append(plan, Step{Remove, o})
	}
	return plan, nil
}

// placed gives objects that name no namespace ours, where their kind has one.
func (i *Installer) placed(objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var placed []*unstructured.Unstructured
	var faults []error
	for _, o := range objects {
		o = o.DeepCopy()
		_, mapping, err := i.Client.resource(o)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", Title(o), err))
			continue
		}
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace && o.GetNamespace() == "" {
			o.SetNamespace(Namespace)
		}
		placed = append(placed, o)
	}
	return placed, errors.Join(faults...)
}

// withNamespaces adds the namespaces that objects are in and that nobody lists.
func withNamespaces(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	listed := map[string]bool{}
	for _, o := range objects {
		if o.GetKind() == kindNamespace {
			listed[o.GetName()] = true
		}
	}
	for _, o := range objects {
		if name := o.GetNamespace(); name != "" && !listed[name] {
			listed[name] = true
			objects = append(objects, newNamespace(name))
		}
	}
	return objects
}

// step finds out what applying one object would do. It has no object where there is
// nothing to apply.
func (i *Installer) step(ctx context.Context, o *unstructured.Unstructured, missing map[string]bool) (Step, error) {
	objects, _, err := i.Client.resource(o)
	if err != nil {
		return Step{}, err
	}
	live, err := objects.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		live, err = nil, nil
	}
	if err != nil {
		return Step{}, fmt.Errorf("reading it: %w", err)
	}
	if o.GetKind() == kindNamespace {
		if o, err = claimed(o, live); o == nil || err != nil {
			return Step{}, err
		}
		missing[o.GetName()] = live == nil
	}
	probe := o
	if live == nil && missing[o.GetNamespace()] {
		probe = elsewhere(o)
	}
	result, err := i.apply(ctx, probe, metav1.DryRunAll)
	switch {
	case err != nil:
		return Step{}, err
	case live == nil:
		return Step{Create, o}, nil
	case same(live, result):
		return Step{Keep, o}, nil
	}
	return Step{Change, o}, nil
}

// elsewhere is an object for checking while its namespace is not there: in a
// namespace that every cluster has, under a name that nobody uses.
func elsewhere(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	o.SetNamespace(metav1.NamespaceDefault)
	o.SetName(fmt.Sprintf("%s-%08x", o.GetName(), rand.Uint32()))
	return o
}

// same reports whether applying changes nothing about an object, owners included.
func same(live, result *unstructured.Unstructured) bool {
	return equality.Semantic.DeepEqual(steady(live), steady(result))
}

// steady is an object without what changes when nothing changes.
func steady(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	o.SetResourceVersion("")
	o.SetGeneration(0)
	fields := o.GetManagedFields()
	for i := range fields {
		fields[i].Time = nil
	}
	o.SetManagedFields(fields)
	return o.Object
}

// apply applies one object, for good or for a try.
func (i *Installer) apply(ctx context.Context, o *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
	objects, _, err := i.Client.resource(o)
	if err != nil {
		return nil, err
	}
	result, err := objects.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: Manager, Force: i.Force, DryRun: dryRun})
	return result, readable(err)
}

// stale are the objects that an earlier install applied and this plan has no more,
// and what an uninstall that was cut short left at work. What is made by what runs in
// the cluster carries our label too, but was not applied by Manager.
func (i *Installer) stale(ctx context.Context, plan Plan) ([]*unstructured.Unstructured, error) {
	wanted := map[key]bool{}
	for _, s := range plan {
		wanted[keyOf(s.Object)] = true
	}
	all, err := i.Client.labelled(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool {
		if o.GetKind() == "DaemonSet" && o.GetName() == cleaner {
			return false
		}
		return wanted[keyOf(o)] || o.GetKind() == kindNamespace || o.GetDeletionTimestamp() != nil || !applied(o)
	}), nil
}

// applied reports whether Manager applied the object.
func applied(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == Manager && f.Operation == metav1.ManagedFieldsOperationApply
	})
}

// Run does what the plan says. It stops at the first error; running an install
// again goes on from there.
func (i *Installer) Run(ctx context.Context, plan Plan) error {
	for _, s := range plan {
		var err error
		switch s.Action {
		case Create, Change:
			err = i.put(ctx, s)
		case Remove:
			err = i.Client.remove(ctx, s.Object)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", Title(s.Object), err)
		}
	}
	return nil
}

func (i *Installer) put(ctx context.Context, s Step) error {
	if s.Object.GetKind() == kindNamespace && s.Action == Create {
		// Made, not applied: only one can have made it.
		objects, _, err := i.Client.resource(s.Object)
		if err != nil {
			return err
		}
		if _, err := objects.Create(ctx, s.Object, metav1.CreateOptions{FieldManager: Manager}); err != nil {
			return fmt.Errorf("making it: %w", err)
		}
	}
	_, err := i.apply(ctx, s.Object)
	return err
}

// readable says of a conflict who owns what, and the way out.
func readable(err error) error {
	status := apierrors.APIStatus(nil)
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return err
	}
	var owned []string
	for _, c := range status.Status().Details.Causes {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			owned = append(owned, fmt.Sprintf("%s (%s)", strings.TrimPrefix(c.Field, "."), c.Message))
		}
	}
	if len(owned) == 0 {
		return err
	}
	return fmt.Errorf("others have set other values: %s; undo that, give the same values, or take the fields over with --force-conflicts",
		strings.Join(owned, ", "))
}
