package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// kustomization is what is used of kustomize's own kind.
type kustomization struct {
	meta.TypeMeta `json:",inline"`
	Namespace     string   `json:"namespace,omitempty"`
	Resources     []string `json:"resources"`
	Images        []struct {
		Name    string `json:"name"`
		NewName string `json:"newName"`
		NewTag  string `json:"newTag"`
	} `json:"images,omitempty"`
	ConfigMaps []struct {
		Name     string   `json:"name"`
		Behavior string   `json:"behavior,omitempty"`
		Files    []string `json:"files"`
	} `json:"configMapGenerator,omitempty"`
	Patches []struct {
		Path string `json:"path"`
	} `json:"patches,omitempty"`
}

// kinds are the types that the manifests are of.
var kinds = map[string]func() any{
	"batch/v1 Job":                       func() any { return &batch.Job{} },
	"batch/v1 CronJob":                   func() any { return &batch.CronJob{} },
	"apps/v1 Deployment":                 func() any { return &apps.Deployment{} },
	"v1 Service":                         func() any { return &core.Service{} },
	"v1 PersistentVolumeClaim":           func() any { return &core.PersistentVolumeClaim{} },
	"v1 Namespace":                       func() any { return &core.Namespace{} },
	"v1 ConfigMap":                       func() any { return &core.ConfigMap{} },
	"networking.k8s.io/v1 NetworkPolicy": func() any { return &networking.NetworkPolicy{} },
	"kustomize.config.k8s.io/v1beta1 Kustomization": func() any { return &kustomization{} },
}

// decode reads manifests into their types; a field that the type does not have
// is an error.
func decode(t *testing.T, where string, data []byte) (out []any) {
	t.Helper()
	for part := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var head meta.TypeMeta
		if err := yaml.Unmarshal(part, &head); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		kind := kinds[head.APIVersion+" "+head.Kind]
		if kind == nil {
			t.Fatalf("%s: %s %s is not expected", where, head.APIVersion, head.Kind)
		}
		object := kind()
		if err := yaml.UnmarshalStrict(part, object); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		out = append(out, object)
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// files returns those below a folder with an ending.
func files(t *testing.T, dir, ending string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ending) {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%d files in %s: %v", len(out), dir, err)
	}
	return out
}

// settings are files that slotferry reads, not Kubernetes.
func settings(path string) bool {
	base := filepath.Base(path)
	return base == "import.yaml" || base == "slotferry.yaml"
}

// pod returns what an object makes pods of, and the policy for their exits.
func pod(object any) (spec *core.PodSpec, labels map[string]string, job *batch.JobSpec) {
	var template core.PodTemplateSpec
	switch o := object.(type) {
	case *batch.Job:
		template, job = o.Spec.Template, &o.Spec
	case *batch.CronJob:
		template, job = o.Spec.JobTemplate.Spec.Template, &o.Spec.JobTemplate.Spec
	case *apps.Deployment:
		template = o.Spec.Template
	default:
		return nil, nil, nil
	}
	return &template.Spec, template.Labels, job
}

// TestManifests decodes every file by itself, and looks that its pods are as
// safe as they can be, end well, and get what they mount.
func TestManifests(t *testing.T) {
	seen := map[string]int{}
	for _, path := range files(t, "kubernetes", ".yaml") {
		if settings(path) {
			continue
		}
		for _, object := range decode(t, path, read(t, path)) {
			spec, labels, job := pod(object)
			if spec == nil || strings.Contains(path, "overlays") { // patches are parts
				continue
			}
			seen[filepath.Base(path)]++
			wantSafe(t, path, spec)
			wantMounted(t, path, spec)
			if labels["app.kubernetes.io/name"] != "slotferry" {
				t.Errorf("%s: its pods have the labels %v", path, labels)
			}
			if job != nil {
				wantExits(t, path, spec, job)
			}
		}
	}
	if seen["job.yaml"] != 2 || seen["cronjob.yaml"] != 1 || seen["deployment.yaml"] != 1 {
		t.Errorf("looked at %v", seen)
	}
}

func wantSafe(t *testing.T, path string, spec *core.PodSpec) {
	t.Helper()
	yes := func(b *bool) bool { return b != nil && *b }
	no := func(b *bool) bool { return b != nil && !*b }
	p, c := spec.SecurityContext, spec.Containers[0]
	s := c.SecurityContext
	switch {
	case !no(spec.AutomountServiceAccountToken):
		t.Errorf("%s: its pods get a token of the cluster", path)
	case p == nil || !yes(p.RunAsNonRoot) || p.SeccompProfile == nil || p.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault:
		t.Errorf("%s: its pods may do too much", path)
	case s == nil || !yes(s.ReadOnlyRootFilesystem) || !no(s.AllowPrivilegeEscalation) || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}):
		t.Errorf("%s: its container may do too much", path)
	case c.Resources.Limits.Memory().Value() < 256<<20*5/4 || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero():
		t.Errorf("%s: its resources are %v", path, c.Resources)
	case spec.TerminationGracePeriodSeconds == nil || *spec.TerminationGracePeriodSeconds < 30:
		t.Errorf("%s: too little time to save a checkpoint", path)
	}
	for _, e := range c.Env {
		if strings.Contains(e.Name, "PASSWORD") {
			t.Errorf("%s: a password is in the environment", path)
		}
	}
}

func wantMounted(t *testing.T, path string, spec *core.PodSpec) {
	t.Helper()
	var have, used []string
	for _, v := range spec.Volumes {
		have = append(have, v.Name)
	}
	tmp := false
	for _, m := range spec.Containers[0].VolumeMounts {
		used = append(used, m.Name)
		tmp = tmp || m.MountPath == "/tmp" && !m.ReadOnly
	}
	slices.Sort(have)
	slices.Sort(used)
	if !slices.Equal(have, used) || !tmp {
		t.Errorf("%s: volumes %v, mounted %v", path, have, used)
	}
}

// wantExits sees that each exit code does what docs/kubernetes.md says.
func wantExits(t *testing.T, path string, spec *core.PodSpec, job *batch.JobSpec) {
	t.Helper()
	if spec.RestartPolicy != core.RestartPolicyNever || job.PodFailurePolicy == nil || job.PodReplacementPolicy == nil || *job.PodReplacementPolicy != batch.Failed {
		t.Fatalf("%s: no policy for pods that fail", path)
	}
	indexed := job.CompletionMode != nil && *job.CompletionMode == batch.IndexedCompletion
	does := map[int32]batch.PodFailurePolicyAction{}
	for _, rule := range job.PodFailurePolicy.Rules {
		if on := rule.OnExitCodes; on != nil {
			if on.Operator != batch.PodFailurePolicyOnExitCodesOpIn || on.ContainerName == nil || *on.ContainerName != spec.Containers[0].Name {
				t.Errorf("%s: %+v", path, on)
			}
			for _, code := range on.Values {
				if does[code] == "" {
					does[code] = rule.Action
				}
			}
		}
	}
	own := batch.PodFailurePolicyActionFailJob
	if indexed {
		own = batch.PodFailurePolicyActionFailIndex
	}
	want := map[int32]batch.PodFailurePolicyAction{
		1: own, 2: batch.PodFailurePolicyActionFailJob, 3: own, 4: batch.PodFailurePolicyActionFailJob,
	}
	for code := range int32(140) {
		if does[code] != want[code] {
			t.Errorf("%s: exit code %d does %q, want %q", path, code, does[code], want[code])
		}
	}
	if tries := cmpOr(job.BackoffLimitPerIndex, job.BackoffLimit); tries < 10 || indexed != (job.BackoffLimitPerIndex != nil) {
		t.Errorf("%s: it is tried %d times", path, tries)
	}
}

func cmpOr(list ...*int32) int32 {
	for _, n := range list {
		if n != nil {
			return *n
		}
	}
	return 0
}

// TestKustomizations looks that each names files that are there, and that none
// is forgotten.
func TestKustomizations(t *testing.T) {
	named := map[string]bool{}
	for _, path := range files(t, "kubernetes", "kustomization.yaml") {
		k := decode(t, path, read(t, path))[0].(*kustomization)
		dir := filepath.Dir(path)
		named[path] = true
		list := slices.Clone(k.Resources)
		for _, m := range k.ConfigMaps {
			list = append(list, m.Files...)
		}
		for _, p := range k.Patches {
			list = append(list, p.Path)
		}
		for _, name := range list {
			file := filepath.Join(dir, name)
			info, err := os.Stat(file)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if info.IsDir() {
				_ = read(t, filepath.Join(file, "kustomization.yaml"))
			}
			named[file] = true
		}
	}
	for _, path := range files(t, "kubernetes", ".yaml") {
		if !named[path] {
			t.Errorf("%s is in no kustomization", path)
		}
	}
}

// TestRendered has kubectl make what would be applied, where there is one.
func TestRendered(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("there is no kubectl")
	}
	for _, path := range files(t, "kubernetes", "kustomization.yaml") {
		dir := filepath.Dir(path)
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", dir).Output()
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		maps := map[string]bool{}
		var specs []*core.PodSpec
		for _, object := range decode(t, dir, out) {
			if m, ok := object.(*core.ConfigMap); ok {
				maps[m.Name] = true
			}
			if spec, _, _ := pod(object); spec != nil {
				wantSafe(t, dir, spec)
				wantMounted(t, dir, spec)
				specs = append(specs, spec)
			}
		}
		if len(specs) == 0 {
			t.Errorf("%s has no pods", dir)
		}
		for _, spec := range specs {
			for _, v := range spec.Volumes {
				if v.ConfigMap != nil && !maps[v.ConfigMap.Name] {
					t.Errorf("%s: no config map %s", dir, v.ConfigMap.Name)
				}
			}
			if strings.Contains(dir, "overlays") && !strings.HasPrefix(spec.Containers[0].Image, "registry.example.com/") {
				t.Errorf("%s: image %s", dir, spec.Containers[0].Image)
			}
		}
	}
}

// TestShardsAgree sees that an Indexed Job has as many pods as there are parts.
func TestShardsAgree(t *testing.T) {
	n := 0
	for _, path := range files(t, "kubernetes", ".yaml") {
		if settings(path) {
			continue
		}
		for _, object := range decode(t, path, read(t, path)) {
			job, ok := object.(*batch.Job)
			if !ok || job.Spec.Completions == nil {
				continue
			}
			n++
			want := "--shard=$(JOB_COMPLETION_INDEX)/" + strconv.Itoa(int(*job.Spec.Completions))
			if !slices.Contains(job.Spec.Template.Spec.Containers[0].Args, want) || *job.Spec.Parallelism > *job.Spec.Completions {
				t.Errorf("%s: %d pods with %v", path, *job.Spec.Completions, job.Spec.Template.Spec.Containers[0].Args)
			}
		}
	}
	if n != 2 {
		t.Errorf("looked at %d jobs", n)
	}
}
