// What may stand in the shipped dashboard, put together from the types that Grafana publishes of its own schema.
//
// Grafana's `Panel` is open where a panel is of a kind: its options, its field's own settings and its queries may be anything
// there. Here each is what the panel of that kind and the data source read. A kind of panel or a setting that the dashboard
// does not use yet is added here from the same packages.

import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus';
import type * as units from '@grafana/grafana-foundation-sdk/units';
import type { AnnotationQuery, Dashboard, FieldConfig, Panel, RowPanel } from '@grafana/schema';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** As JSON writes it: the word of an enum is a text. */
type Written<T> = T extends string
    ? `${T}`
    : T extends (infer Item)[]
      ? Written<Item>[]
      : T extends object
        ? { [Key in keyof T]: Written<T[Key]> }
        : T;

type Source = { type: 'prometheus'; uid: string };

/** The method is a mark of the package's own; the name of a query is what a panel tells its queries apart by. */
type Query = Omit<Dataquery, '_implementsDataqueryVariant' | 'datasource' | 'refId'> & { datasource: Source; refId: string };

type Defaults = Omit<FieldConfig, 'custom' | 'unit'> & {
    custom?: timeseries.FieldConfig;
    /** A word that Grafana does not know is shown behind the number as it is, which nobody means. */
    unit?: (typeof units)[keyof typeof units];
};

type Graph = Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource'> & {
    type: 'timeseries';
    options?: timeseries.Options;
    fieldConfig: { defaults: Defaults; overrides: [] };
    targets: Query[];
    datasource: Source;
};

type Row = Omit<RowPanel, 'panels'> & { panels: [] };

type Annotation = Omit<AnnotationQuery, 'target' | 'datasource'> & { datasource: Source; target: Query };

export type Board = Written<
    Omit<Dashboard, 'panels' | 'annotations'> & { panels: (Graph | Row)[]; annotations: { list: Annotation[] } }
>;
