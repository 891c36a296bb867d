import { type ReactNode, useEffect, useId } from 'react';

/** A titled section on the page's grid. */
export function Card({
  title,
  aside,
  flush,
  id,
  className,
  children,
}: {
  readonly title: ReactNode;
  /** Controls and notes at the right of the title. */
  readonly aside?: ReactNode;
  /** Content reaches the card's edges: tables. */
  readonly flush?: boolean;
  readonly id?: string;
  readonly className?: string;
  readonly children: ReactNode;
}) {
  const heading = useId();
  return (
    <section className={`card ${className ?? ''}`} aria-labelledby={heading} id={id}>
      <div className="card-head">
        <h2 id={heading}>{title}</h2>
        {aside !== undefined && <div className="aside">{aside}</div>}
      </div>
      <div className={flush ? 'card-body flush' : 'card-body'}>{children}</div>
    </section>
  );
}

/** Title and state at the left, actions at the right: the same on every page. The title is also the window's. */
export function PageHead({
  title,
  state,
  actions,
}: {
  readonly title: string;
  readonly state?: ReactNode;
  readonly actions?: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · Condenser`;
  }, [title]);
  return (
    <header className="page-head">
      <div className="page-title">
        <h1>{title}</h1>
        {state}
      </div>
      {actions !== undefined && <div className="actions">{actions}</div>}
    </header>
  );
}
