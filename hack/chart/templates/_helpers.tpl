{{- define "ambient22.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: ambient22
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "ambient22.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Where pods run: the values of this level, and the chart's pull secrets. */}}
{{- define "ambient22.placement" -}}
priorityClassName: {{ .at.priorityClassName }}
{{- with .at.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A container's rights: root without any of root's, but those that are listed. */}}
{{- define "ambient22.rights" -}}
securityContext:
  runAsUser: 0
  runAsGroup: 0
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    {{- with . }}
    add:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}

{{/* How the tunnel devices and rules are made; both ends need the same. */}}
{{- define "ambient22.path" -}}
- --iptables={{ .Values.iptables }}
- --tunnel={{ .Values.tunnel }}
- --tunnel-port={{ .Values.tunnelPort }}
- --proc-sys=/host/proc/sys
{{- end }}

{{/* Values that are right one by one and wrong together. */}}
{{- define "ambient22.check" -}}
{{- if ne .Release.Namespace "istio-system" }}
{{- fail "the namespace must be istio-system: the data path of 2022 has its proxies and the mesh's own settings there (helm install --namespace istio-system)" }}
{{- end }}
{{- if and (eq .Values.engine "envoy") (eq .Values.dialect "upstream") (contains "istio/proxyv2" .Values.proxyImage.repository) }}
{{- fail "dialect upstream is for an Envoy as released, from 1.28: set proxyImage.repository and proxyImage.tag to one, or take engine embedded" }}
{{- end }}
{{- end }}
