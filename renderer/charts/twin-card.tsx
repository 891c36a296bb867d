import { type ReactNode, useState } from 'react';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';

/** A card whose chart has a table with the same numbers. */
export function TwinCard({
  title,
  aside,
  className,
  chart,
  table,
}: {
  readonly title: string;
  readonly aside?: ReactNode;
  readonly className?: string;
  readonly chart: ReactNode;
  readonly table: () => ReactNode;
}) {
  const [asTable, setAsTable] = useState(!hasCanvas());
  return (
    <Card
      title={title}
      {...(className !== undefined && { className })}
      aside={
        <>
          {aside}
          <Button small look="quiet" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
            {asTable ? 'chart' : 'table'}
          </Button>
        </>
      }
    >
      {asTable ? table() : chart}
    </Card>
  );
}

/** False where the page cannot draw: then the tables are shown. */
function hasCanvas(): boolean {
  return document.createElement('canvas').getContext('2d') !== null;
}
