// The shipped dashboard is one that Grafana's own schema allows, and the check sees what that schema does not allow.
//
// CAUSEWAY_DASHBOARD names the file.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

const folder = path.dirname(fileURLToPath(import.meta.url));
const shipped = JSON.parse(readFileSync(process.env.CAUSEWAY_DASHBOARD, 'utf8'));

/** The first graph and the first of everything that hangs on it. */
const graph = (board) => board.panels.find((panel) => panel.type === 'timeseries');

/** What must not pass, by what is done to the dashboard. Each is a slip that Grafana takes without a word. */
const slips = {
    'a member that no dashboard has': (board) => { board.refreshEvery = '30s'; },
    'no version of the schema': (board) => { delete board.schemaVersion; },
    'a text for a number': (board) => { board.schemaVersion = '39'; },
    'a kind of panel that is not described': (board) => { graph(board).type = 'graph'; },
    'a member that no panel has': (board) => { graph(board).gridpos = graph(board).gridPos; },
    'a place without a height': (board) => { delete graph(board).gridPos.h; },
    'a row that does not say whether it is folded': (board) => { delete board.panels[0].collapsed; },
    'a setting that no graph has': (board) => { graph(board).fieldConfig.defaults.custom.fillOpactiy = 30; },
    'a way of stacking that does not exist': (board) => { graph(board).fieldConfig.defaults.custom.stacking.mode = 'stacked'; },
    'a unit that Grafana does not know': (board) => { graph(board).fieldConfig.defaults.unit = 'requests'; },
    'a setting of a field in the wrong place': (board) => { graph(board).fieldConfig.unit = 's'; },
    'a query without an expression': (board) => { delete graph(board).targets[0].expr; },
    'a query without a name': (board) => { delete graph(board).targets[0].refId; },
    'an expression under the name that another source has': (board) => { graph(board).targets[0].query = 'up'; },
    'a kind of variable that does not exist': (board) => { board.templating.list[0].type = 'data source'; },
    'a moment of refreshing that does not exist': (board) => { board.templating.list[1].refresh = 3; },
    'a member that no variable has': (board) => { board.templating.list[1].multiple = true; },
    'an annotation with its expression where it stood in old versions': (board) => {
        const [annotation] = board.annotations.list;
        annotation.expr = annotation.target.expr;
        delete annotation.target;
    },
};

/** What the compiler says of each of these boards. */
function faults(boards) {
    const files = boards.map((board, number) => {
        const file = path.join(folder, `board-${number}.ts`);
        writeFileSync(file, `import type { Board } from './board';\nexport const board: Board = ${JSON.stringify(board, null, 1)};\n`);
        return file;
    });
    const options = {
        strict: true, noEmit: true, skipLibCheck: true, types: [], lib: ['lib.es2022.d.ts'],
        target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022, moduleResolution: ts.ModuleResolutionKind.Bundler,
    };
    const program = ts.createProgram(files, options);
    const said = ts.getPreEmitDiagnostics(program).map((one) => ({
        file: one.file?.fileName,
        text: `${one.file === undefined ? '' : one.file.text.slice(one.start, one.start + 60).split('\n')[0]}: `
            + ts.flattenDiagnosticMessageText(one.messageText, '\n'),
    }));
    const elsewhere = said.filter(({ file }) => !files.includes(file));
    assert.deepEqual(elsewhere, [], 'the types themselves are sound');
    return files.map((file) => said.filter((one) => one.file === file).map(({ text }) => text));
}

test('the shipped dashboard is what Grafana\'s schema says, and a slip in it would be seen', () => {
    const slipped = Object.values(slips).map((slip) => {
        const board = structuredClone(shipped);
        slip(board);
        return board;
    });

    const [ours, ...theirs] = faults([shipped, ...slipped]);

    assert.deepEqual(ours, []);
    const unseen = Object.keys(slips).filter((_, number) => theirs[number].length === 0);
    assert.deepEqual(unseen, []);
});
